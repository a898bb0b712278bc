package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// healthPatience is how long the server may take to say how it is.
	healthPatience = 4 * time.Second
	// healthAnswer is the most of its answer that is shown, in bytes.
	healthAnswer = 200
)

type healthConfig struct {
	url       string
	addresses []string
	live      bool
}

func (a *app) healthCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "health",
		Short: "Ask a server whether it takes clients",
		Long: "health asks a server for /readyz, or with --live for /livez, and prints the answer. It is what a container's health\n" +
			"check runs where there is neither a shell nor curl: of the settings of 'notifier serve' it needs --addr, which it\n" +
			"calls on this machine, without looking at the certificate. An orchestrator that ends what is not healthy should\n" +
			"ask with --live: a server that waits for its database must not be ended for it.\n\n" +
			"Exit codes: 0 the answer is yes; 1 it is no, or there is none; 2 wrong usage.",
		Example: "  notifier health\n  notifier health --live",
		Args:    cobra.NoArgs,
	}
	var c healthConfig
	s := newSettings(command)
	s.Section("Server")
	define(s, "url", "url", "", "the server; empty: the first address of --addr, on this machine", &c.url, parseText)
	define(s, "addr", "list", ":8080", "where the server listens: host:port, or tls://host:port", &c.addresses, parseAddresses)
	s.Section("Question")
	defineSwitch(s, "live", "ask only whether the process answers", &c.live)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return a.health(command.Context(), c)
	}
	return command
}

func (a *app) health(ctx context.Context, c healthConfig) error {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	path := "/readyz"
	if c.live {
		path = "/livez"
	}
	base := cmp.Or(strings.TrimSuffix(c.url, "/"), ownURL(c.addresses[0]))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if c.url == "" { // the names in the certificate are those by which others call this machine
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // nothing secret is said
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, healthAnswer)) // the status is the answer
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is answered by %s: %s", path, response.Status, printable(strings.TrimSpace(string(text))))
	}
	_, err = fmt.Fprintln(a.out, printable(strings.TrimSpace(string(text))))
	return err
}

// ownURL is what this machine calls an address that a server listens on.
func ownURL(address string) string {
	plain, secure := strings.CutPrefix(address, tlsPrefix)
	host, port, _ := net.SplitHostPort(plain)
	switch at, err := netip.ParseAddr(host); {
	case host == "" || err == nil && at.Unmap() == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && at.IsUnspecified():
		host = "::1"
	}
	if secure {
		return "https://" + net.JoinHostPort(host, port)
	}
	return "http://" + net.JoinHostPort(host, port)
}
