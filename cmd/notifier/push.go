package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/notifier/cmd/notifier/tuning"
	"example.com/notifier/httpapi/client"
	"github.com/spf13/cobra"
)

type pushConfig struct {
	url      string
	token    string
	to       string
	file     string
	patience time.Duration
}

func (a *app) pushCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "push [--to USER TEXT...]",
		Short: "Push events: texts for one user, or a file or standard input of JSON lines",
		Long: "push stores events through a running server.\n\n" +
			"With --to, each argument becomes an event of now for that user. Without, every line of the file or of\n" +
			"standard input is an event:\n\n" +
			`  {"accessid":"client1","created_at":10,"payload":"any JSON","idempotency_key":"optional"}` + "\n\n" +
			"Lines go out in lists, each stored whole or not at all. Where the server can't be reached or can't store\n" +
			"now, a list is sent again under the same key, so it is stored once.\n\n" +
			"Exit codes: 0 all is stored; 1 something could not be; 2 wrong usage; 3 a line is no event.",
		Example: "  notifier push --to client1 'hello' 'world'\n  notifier push --file events.jsonl\n  grep client1 events.jsonl | notifier push",
	}
	var c pushConfig
	s := newSettings(command)
	defineURL(s, &c.url)
	defineToken(s, &c.token)
	s.Section("Events")
	define(s, "to", "user", "", "the user whom the arguments are for", &c.to, parseText)
	define(s, "file", "file", "", "file of JSON lines; - is standard input", &c.file, parseText)
	define(s, "retry-for", "duration", "30s", "how long to go on trying with one list", &c.patience, tuning.Duration)
	command.Args = func(_ *cobra.Command, args []string) error {
		switch to := s.flags.Changed("to") || a.getenv(environment("to")) != ""; {
		case len(args) > 0 && !to:
			return fmt.Errorf("say by --to whom %q is for", args[0])
		case len(args) == 0 && s.flags.Changed("to"):
			return fmt.Errorf("--to needs texts as arguments")
		case len(args) > 0 && s.flags.Changed("file"):
			return fmt.Errorf("--file and arguments exclude each other")
		}
		return nil
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return a.push(command.Context(), c, args)
	}
	return command
}

// defineURL adds the server's address, for the commands that are clients.
func defineURL(s *settings, target *string) {
	s.Section("Server")
	define(s, "url", "url", "http://127.0.0.1:8080", "the server", target, func(text string) (string, error) {
		_, err := client.New(text)
		return text, err
	})
}

// defineToken adds what shows who the caller is.
func defineToken(s *settings, target *string) {
	define(s, "token", "text", "", "the token to show; in the variable, not in the flag, it stays out of the process list", target, parseText)
}

func (a *app) push(ctx context.Context, c pushConfig, args []string) error {
	server, err := client.New(c.url)
	if err != nil {
		return err
	}
	server = server.WithToken(c.token)
	defer server.Close()
	p := &pusher{client: server, patience: c.patience, run: rand.Text()}
	if len(args) > 0 {
		err = p.texts(ctx, c.to, args)
	} else {
		err = a.pushLines(ctx, p, c.file)
	}
	if err != nil {
		return fmt.Errorf("%w; %d events are stored", err, p.stored)
	}
	fmt.Fprintf(a.err, "%d events are stored\n", p.stored)
	return nil
}

// pusher sends lists, one after the other.
type pusher struct {
	client   *client.Client
	patience time.Duration
	run      string // random, so that no two runs share a key
	lists    int
	stored   int
}

func (p *pusher) send(ctx context.Context, events []json.RawMessage) error {
	p.lists++
	if err := p.client.PushRetrying(ctx, events, fmt.Sprintf("%s-%d", p.run, p.lists), p.patience); err != nil {
		return err
	}
	p.stored += len(events)
	return nil
}

func (p *pusher) texts(ctx context.Context, user string, texts []string) error {
	events := make([]json.RawMessage, 0, len(texts))
	for _, text := range texts {
		payload, err := json.Marshal(text)
		if err != nil {
			return fmt.Errorf("encode text: %w", err)
		}
		event, err := json.Marshal(client.Event{AccessID: user, CreatedAt: time.Now().Unix(), Payload: payload})
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		events = append(events, event)
	}
	return p.send(ctx, events)
}

func (a *app) pushLines(ctx context.Context, p *pusher, path string) error {
	input, size, err := a.open(path)
	if err != nil {
		return err
	}
	defer input.Close()
	if isTerminal(input) {
		fmt.Fprintln(a.err, "reading events, one JSON object a line; Ctrl-D ends")
	}
	bar := newProgress(a.err, size)
	defer bar.finish()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lists := readLists(ctx, input)
	for {
		select {
		case l, more := <-lists:
			if !more {
				return nil
			}
			if err := p.list(ctx, l); err != nil {
				return err
			}
			bar.add(l.size)
		case <-ctx.Done(): // also while a read waits for its pipe
			return context.Cause(ctx)
		}
	}
}

func (p *pusher) list(ctx context.Context, l list) error {
	if l.err != nil {
		return l.err
	}
	if err := p.send(ctx, l.events); err != nil {
		return fmt.Errorf("push lines %d to %d: %w", l.first, l.last, err)
	}
	return nil
}

// open returns the input and its size in bytes, -1 if that can't be known.
func (a *app) open(path string) (io.ReadCloser, int64, error) {
	file := a.in
	if path != "" && path != "-" {
		var err error
		if file, err = os.Open(path); err != nil {
			return nil, 0, fmt.Errorf("open input: %w", err)
		}
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return file, -1, nil
	}
	return file, info.Size(), nil
}
