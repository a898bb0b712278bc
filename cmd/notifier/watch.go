package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"example.com/notifier/httpapi/client"
	"github.com/spf13/cobra"
)

type watchConfig struct {
	url   string
	token string
	user  string
	since func() int64
}

func (a *app) watchCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "watch --user USER",
		Short: "Show a user's events as they happen",
		Long: "watch follows the events of one user: readable lines on a terminal, JSON lines elsewhere, until Ctrl-C.\n\n" +
			"Only events with created_at at --since or later are shown, stored ones first. After a lost connection it\n" +
			"asks for all of them again and leaves out what it has shown, up to 100,000 events; beyond that, the events of\n" +
			"the second at which it forgot may be shown twice, and older ones that happen while it is away are missed.",
		Example: "  notifier watch --user client1\n  notifier watch --user client1 --since 2000 > events.jsonl",
		Args:    cobra.NoArgs,
	}
	var c watchConfig
	s := newSettings(command)
	defineURL(s, &c.url)
	defineToken(s, &c.token)
	s.Section("Events")
	define(s, "user", "user", "", "whose events", &c.user, func(text string) (string, error) {
		if text == "" {
			return "", errors.New("is needed")
		}
		return text, nil
	})
	define(s, "since", "time", "now", "now, a created_at, or a time such as 2026-01-31T08:00:00Z", &c.since, parseSince)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return a.watch(command.Context(), c)
	}
	return command
}

// parseSince reads the least created_at. What "now" is must wait for the
// command to begin.
func parseSince(text string) (func() int64, error) {
	if text == "now" {
		return func() int64 { return time.Now().Unix() }, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return func() int64 { return n }, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither now, nor a whole number, nor a time such as 2026-01-31T08:00:00Z", text)
	}
	return at.Unix, nil
}

func (a *app) watch(ctx context.Context, c watchConfig) error {
	server, err := client.New(c.url)
	if err != nil {
		return err
	}
	server = server.WithToken(c.token)
	defer server.Close()
	show := printer{w: bufio.NewWriter(a.out), line: jsonLine}
	if isTerminal(a.out) {
		show.line = readableLine
	}
	err = server.Watch(ctx, client.WatchConfig{
		User:      c.user,
		Since:     c.since(),
		Events:    show.print,
		Connected: func() { fmt.Fprintf(a.err, "watching the events of %q; Ctrl-C ends\n", c.user) },
		Lost: func(err error, pause time.Duration) {
			fmt.Fprintf(a.err, "connection lost: %v; again in %s\n", err, pause.Round(10*time.Millisecond))
		},
	})
	if ctx.Err() != nil {
		return nil // who watched has seen enough
	}
	return err
}

// printer writes events as lines.
type printer struct {
	w    *bufio.Writer
	line func(io.Writer, client.Event) error
}

func (p printer) print(events []client.Event) error {
	for _, e := range events {
		if err := p.line(p.w, e); err != nil {
			return fmt.Errorf("print event: %w", err)
		}
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("print event: %w", err)
	}
	return nil
}

func jsonLine(w io.Writer, e client.Event) error {
	encoder := json.NewEncoder(w) // makes it one line, whatever blanks the payload has
	encoder.SetEscapeHTML(false)
	return encoder.Encode(e)
}

// readableLine shows a time for what looks like one, and nothing that the
// terminal would take for a command.
func readableLine(w io.Writer, e client.Event) error {
	at := strconv.FormatInt(e.CreatedAt, 10)
	if e.CreatedAt >= 1e9 && e.CreatedAt < 1e11 { // 2001 to 5138
		at = time.Unix(e.CreatedAt, 0).Format(time.DateTime)
	}
	_, err := fmt.Fprintf(w, "%19s  %s  %s\n", at, printable(e.AccessID), printable(string(e.Payload)))
	return err
}

func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
