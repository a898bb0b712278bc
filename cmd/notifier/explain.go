package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/notifier/httpapi/client"
	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
	"github.com/spf13/cobra"
)

type explainConfig struct {
	url, token  string
	user, event string
	json        bool
}

func (a *app) explainCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "explain --user USER --event ID",
		Short: "Say why a user has got an event, or has not",
		Long: "explain asks a server what has become of an event: whether it is stored and when it was committed, whether the\n" +
			"policy lets the user read it, and by which function, whether access has changed close to it, and how it meets the\n" +
			"user's connections, on all instances. The first line is the reason. It takes a token of the role admin.",
		Example: "  notifier explain --user client1 --event 1234\n  notifier explain --user client1 --event 1234 --json | jq -r .reason",
		Args:    cobra.NoArgs,
	}
	var c explainConfig
	s := newSettings(command)
	s.Section("Question")
	define(s, "user", "user", "", "whose events", &c.user, parseNotEmpty)
	define(s, "event", "id", "", "the event's id, as in notifier.events and in what clients get", &c.event, parseNotEmpty)
	defineSwitch(s, "json", "print JSON", &c.json)
	s.Section("Server")
	defineURL(s, &c.url)
	defineToken(s, &c.token)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return a.explain(command.Context(), c)
	}
	return command
}

func (a *app) explain(ctx context.Context, c explainConfig) error {
	server, err := client.New(c.url)
	if err != nil {
		return err
	}
	defer server.Close()
	e, err := server.WithToken(c.token).Explain(ctx, c.user, c.event)
	if err != nil {
		return err
	}
	if !c.json {
		printExplanation(a.out, &e)
		return nil
	}
	return printJSON(a.out, e)
}

// printExplanation quotes all that others have written: it may hold what moves a
// terminal's cursor.
func printExplanation(w io.Writer, e *instances.Explanation) {
	fmt.Fprintf(w, "%s\n\n", printable(e.Conclusion))
	if e.Row == nil {
		return
	}
	printRow(w, e.Row)
	if p := e.Policy; p != nil {
		fmt.Fprintf(w, "policy     the user exists: %t, disabled: %t, may read it: %t %s\n", p.Exists, p.Disabled, p.MayRead, printable(p.Error))
		fmt.Fprintf(w, "           as %s says:\n", p.Decided)
		for line := range strings.Lines(strings.TrimSpace(p.Source)) {
			fmt.Fprintf(w, "             %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	}
	for _, c := range e.Changes {
		fmt.Fprintf(w, "access     row %d, %s: %s, user %s, dataset %s, by %q; %s\n", c.ID, stamp(&c.CreatedAt), c.Control,
			orAny(c.User), orAny(c.DatasetID), c.By, order(c.EventFirst))
	}
	for _, i := range e.Instances {
		printReceptions(w, &i)
	}
}

func printRow(w io.Writer, r *notifier.TracedRow) {
	fmt.Fprintf(w, "event      type %q, action %q, key %q, for %s, dataset %s, by %q\n", r.Type, r.Action, r.Key,
		orNone(r.Recipient, "everybody"), orNone(r.DatasetID, "none"), r.Principal)
	fmt.Fprintf(w, "           created_at %s, payload %d bytes, original %d bytes\n", stamp(&r.CreatedAt), r.PayloadBytes, r.OriginalBytes)
	if r.CommittedAt != nil {
		fmt.Fprintf(w, "committed  %s, transaction %d\n", stamp(r.CommittedAt), r.TxID)
	} else {
		fmt.Fprintf(w, "committed  after %s and before %s, transaction %d\n", stamp(r.After), stamp(r.Before), r.TxID)
	}
}

func printReceptions(w io.Writer, i *instances.ReceptionOf) {
	passed := "has not come to the event"
	switch {
	case i.Error != "":
		passed = i.Error
	case i.Passed:
		passed = "has come to the event"
	}
	fmt.Fprintf(w, "instance   %s %s; connections of the user: %d\n", printable(i.Name), printable(passed), len(i.Connections))
	for _, c := range i.Connections {
		fmt.Fprintf(w, "             client %s, %s, %s, since %s: %s, beyond the event: %t\n",
			printable(c.ID), printable(c.Protocol), printable(c.Address), stamp(&c.ConnectedAt), printable(string(c.State)), c.Passed)
		for _, m := range c.Matches {
			fmt.Fprintf(w, "               %s: %s\n", describeFilter(&m.Filter), describeMatch(&m))
		}
	}
}

func describeFilter(f *instances.Filter) string {
	var parts []string
	for _, part := range []struct {
		name   string
		values []string
	}{{"type", f.Types}, {"action", f.Actions}, {"key", f.Keys}} {
		if len(part.values) > 0 {
			parts = append(parts, fmt.Sprintf("%s %q", part.name, part.values))
		}
	}
	if f.Recipient != nil {
		parts = append(parts, fmt.Sprintf("recipient %q", *f.Recipient))
	}
	return cmp.Or(strings.Join(parts, ", "), "everything")
}

func describeMatch(m *instances.Match) string {
	switch {
	case m.Mismatch != "":
		return "does not want it, for its " + printable(m.Mismatch)
	case m.Late:
		return "wants it, but began after it"
	}
	return "wants it"
}

func stamp(t *time.Time) string {
	if t == nil {
		return "(unknown)"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func orNone(text *string, none string) string {
	if text == nil {
		return none
	}
	return fmt.Sprintf("%q", *text)
}

func orAny(text *string) string { return orNone(text, "any") }

func order(eventFirst *bool) string {
	switch {
	case eventFirst == nil:
		return "whether before or after the event is not known"
	case *eventFirst:
		return "after the event"
	}
	return "before the event"
}
