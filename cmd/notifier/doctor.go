package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"example.com/notifier/db/doctor"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/migrations"
	"example.com/notifier/notifier"
	"github.com/spf13/cobra"
)

const (
	// certificateSoon is how long before its end a certificate is worth a warning.
	certificateSoon = 14 * 24 * time.Hour
	// otherFiles is what a server has open besides its sockets, and more.
	otherFiles = 100
	// fetchPatience bounds looking for the keys that tokens are verified with.
	fetchPatience = 15 * time.Second
)

// examined is the report of doctor.
type examined struct {
	Findings []notifier.Finding `json:"findings"`
}

func (a *app) doctorCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Examine the database and the settings, and say what to do",
		Long: "doctor looks at what a server with the same settings needs: the connection, the schema and its triggers, roles,\n" +
			"LISTEN, the policy functions, clocks, limits, keys and the certificate. Each line is ok, a warning, or a failure\n" +
			"with what to do. It changes nothing, and may be used in production.\n\n" +
			"Exit codes: 0 no failure, perhaps warnings; 1 a failure; 2 wrong usage.",
		Example: "  notifier doctor\n  notifier doctor --json | jq '.findings[] | select(.status != \"ok\")'",
		Args:    cobra.NoArgs,
	}
	var c serveConfig
	var asJSON bool
	s := newSettings(command)
	s.Section("Report")
	defineSwitch(s, "json", "print JSON", &asJSON)
	c.databaseConfig.define(s)
	c.tokens.define(s)
	c.tls.define(s)
	c.Reading(s)
	s.Section("Limits")
	c.Sockets(s)
	s.check = c.databaseConfig.problems
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		c.databaseConfig.apply(&c.DB)
		return a.doctor(command.Context(), c.serverConfig, asJSON)
	}
	return command
}

func (a *app) doctor(ctx context.Context, c serverConfig, asJSON bool) error {
	found := c.examine(ctx)
	if asJSON {
		if err := printJSON(a.out, examined{found}); err != nil {
			return err
		}
	} else {
		printFindings(a.out, found)
	}
	failures := 0
	for _, f := range found {
		if f.Status == notifier.Failure {
			failures++
		}
	}
	if failures > 0 {
		return fmt.Errorf("doctor has found %d failures", failures)
	}
	return nil
}

// printJSON prints for programs, and for people.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// printFindings quotes what others may have written, as the message of a policy's
// error: it stays in its line, and moves no terminal's cursor.
func printFindings(w io.Writer, found []notifier.Finding) {
	for _, f := range found {
		fmt.Fprintf(w, "%-8s %-19s %s\n", f.Status, f.Name, printable(f.Found))
		if f.Advice != "" {
			fmt.Fprintf(w, "%-28s what to do: %s\n", "", printable(f.Advice))
		}
	}
}

// examine looks at what a server of this configuration needs.
func (c *serverConfig) examine(ctx context.Context) []notifier.Finding {
	found := doctor.Examine(ctx, doctor.Config{
		URL: c.DB.URL, ListenURL: c.DB.ListenURL, PollOnly: c.DB.PollOnly, Required: migrations.Required(),
		Retention: c.DB.Retention, Connections: c.DB.MaxConns + extraConns,
	})
	if c.tokens.given() {
		found = append(found, c.tokens.examine(ctx))
	}
	if c.tls.cert != "" {
		found = append(found, c.tls.examine(time.Now()))
	}
	if limit, known := openFiles(); known {
		found = append(found, examineFiles(limit, c.HTTP.MaxConnections+c.HTTP.MaxRequests+otherFiles))
	}
	return found
}

// extraConns are those that live delivery has besides --max-conns.
const extraConns = 5

// examine looks whether the keys that tokens are verified with can be had.
func (c *tokenConfig) examine(ctx context.Context) notifier.Finding {
	ctx, cancel := context.WithTimeout(ctx, fetchPatience)
	defer cancel()
	f := notifier.Finding{Name: "keys of tokens", Status: notifier.OK, Found: "they can be had"}
	v, err := auth.New(ctx, c.config())
	if err == nil {
		err = v.Refresh(ctx)
	}
	if err == nil {
		err = v.Ready()
	}
	if err != nil {
		f.Status, f.Found = notifier.Failure, err.Error()
		f.Advice = "see the NOTIFIER_JWT_… and NOTIFIER_JWKS_… settings, and whether this machine reaches the URL: tokens of unknown keys are refused"
	}
	return f
}

// examine looks whether the certificate is good, and for how long.
func (c *tlsConfig) examine(now time.Time) notifier.Finding {
	f := notifier.Finding{Name: "certificate", Status: notifier.OK}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		f.Status, f.Found, f.Advice = notifier.Failure, err.Error(), "see NOTIFIER_TLS_CERT and NOTIFIER_TLS_KEY"
		return f
	}
	end := pair.Leaf.NotAfter
	f.Found = "valid until " + end.UTC().Format(time.RFC3339)
	switch {
	case now.Before(pair.Leaf.NotBefore):
		f.Status, f.Found = notifier.Failure, "not valid before "+pair.Leaf.NotBefore.UTC().Format(time.RFC3339)
	case now.After(end):
		f.Status, f.Found = notifier.Failure, "not valid since "+end.UTC().Format(time.RFC3339)
	case now.Add(certificateSoon).After(end):
		f.Status = notifier.Warning
	}
	if f.Status != notifier.OK {
		f.Advice = "replace the files: a server takes the new ones into use by itself, or at once after SIGHUP"
	}
	return f
}

func examineFiles(limit uint64, needed int) notifier.Finding {
	f := notifier.Finding{Name: "open files", Status: notifier.OK, Found: fmt.Sprintf("%d may be open, up to %d are needed", limit, needed)}
	if limit < uint64(needed) { //nolint:gosec // a sum of limits is not negative
		f.Status = notifier.Warning
		f.Advice = "raise the limit (ulimit -n, LimitNOFILE=), or lower NOTIFIER_MAX_CONNECTIONS and NOTIFIER_MAX_REQUESTS"
	}
	return f
}
