package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"example.com/notifier/cmd/notifier/tuning"
	"example.com/notifier/db"
	"example.com/notifier/httpapi/proxies"
)

// serverConfig is what serve and dev have in common.
type serverConfig struct {
	logConfig
	addresses []string
	admin     string // where operators look; "": nowhere
	adminURL  string // what other instances call that; "": as it can be told from it
	tls       tlsConfig
	folder    string // where a certificate for development is kept
	tokens    tokenConfig
	tuning.Config
}

// serverDefaults is where serve and dev differ.
type serverDefaults struct{ address, sysadmTypes string }

func (c *serverConfig) define(s *settings, d serverDefaults) {
	s.Section("Addresses")
	define(s, "addr", "list", d.address, "where to listen: host:port, or tls://host:port; several with commas", &c.addresses, parseAddresses)
	define(s, "admin-addr", "host:port", "", "where /metrics, /admin and /debug/pprof are, in plain HTTP and for whoever can reach it: "+
		"best a loopback address, such as 127.0.0.1:9090; empty: nowhere", &c.admin, parseAdminAddress)
	define(s, "admin-url", "url", "", "what the other instances call --admin-addr, such as http://10.0.0.5:9090; "+
		"empty: as it is, or this machine's first address if it is every one", &c.adminURL, parseAdminURL)
	define(s, "trusted-proxies", "list", "", "addresses and networks of proxies that are believed when they say where a client is (X-Forwarded-For, PROXY protocol)",
		&c.HTTP.Proxies, parseProxies)
	c.tls.define(s)
	c.Access(s)
	c.logConfig.define(s)
	c.Reading(s)
	c.Sysadm(s, d.sysadmTypes)
	c.Limits(s)
	c.Times(s)
}

// problems tells what no single setting can know.
func (c *serverConfig) problems() []error {
	return append(c.tls.problems(c.addresses), c.Problems()...)
}

// checkWayIn refuses to run a server that nobody could be let in to. A user with
// a password is a way in; that only the database knows.
func (c *serverConfig) checkWayIn(ctx context.Context, database *db.DB) error {
	if c.HTTP.Anonymous || c.tokens.given() {
		return nil
	}
	ok, err := database.AnyPassword(ctx)
	if err != nil || ok {
		return err
	}
	return configError{named("anonymous", "is off, there is no key to verify tokens with, and no user has a password: nobody could be let in; "+
		"give --jwt-secret, --jwt-public-key, --jwks-url or --jwks-file; or make a user with 'notifier user add'; "+
		"or turn it on where everybody who reaches the server may read and publish everything")}
}

// parseAddresses reads a list of host:port, some with tls:// before it; an empty
// host is every address.
func parseAddresses(text string) ([]string, error) {
	list, _ := tuning.List(text)
	if len(list) == 0 {
		return nil, errEmpty
	}
	var problems []error
	for _, address := range list {
		problems = append(problems, checkAddress(address))
	}
	return list, errors.Join(problems...)
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, tlsPrefix))
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor tls://host:port", address)
	}
	if _, err := parsePort(port); err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	return nil
}

// parseAdminAddress reads one host:port, or none.
func parseAdminAddress(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if strings.HasPrefix(text, tlsPrefix) {
		return "", errors.New("there is no TLS: give host:port")
	}
	return text, checkAddress(text)
}

// parseProxies reads a list of addresses and networks.
func parseProxies(text string) (proxies.Trusted, error) {
	list, _ := tuning.List(text)
	return proxies.Parse(list)
}
