// Command notifier turns committed Postgres rows into live WebSocket messages.
//
// main.go starts and ends the process, settings.go binds flags to environment
// variables; each other file is a command, or what commands share.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is stamped by the Makefile.
var version string

// The exit codes; README.md lists them.
const (
	exitFailed   = 1 // it could not do what it was asked, or must not with this configuration
	exitUsage    = 2 // the command line makes no sense
	exitBadInput = 3 // push: a line of the input is no event
)

func main() {
	ctx := untilSignalled()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	collectEarly(a.getenv)
	os.Exit(a.run(ctx, os.Args[1:]))
}

// gcPercent is how much garbage may pile up, in percent of what is in use. Most
// of a server's memory is connections, which seldom change: collecting twice as
// often as usual costs next to nothing and saves a fifth of it.
const gcPercent = 50

// collectEarly leaves the choice to GOGC, if that is set.
func collectEarly(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// untilSignalled returns a context that ends with the first SIGINT or SIGTERM.
// The second ends the process at once: somebody is out of patience.
func untilSignalled() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		cancel(fmt.Errorf("received signal %q", <-signals))
		<-signals
		fmt.Fprintln(os.Stderr, "notifier: second signal, ending at once")
		os.Exit(exitFailed)
	}()
	return ctx
}

// app is what the commands have of the outside world.
type app struct {
	in       *os.File
	out, err *os.File
	getenv   func(string) string
	// logger, once a command has made one, is where the error goes that ends
	// it: a JSON log should be JSON to the last line.
	logger *slog.Logger
}

// run executes a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root, started := a.commands()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if a.logger != nil {
		a.logger.Error("ended", "error", err)
	} else {
		fmt.Fprintln(a.err, "notifier:", err)
	}
	if !*started {
		fmt.Fprintln(a.err, "Run 'notifier --help' for what there is.")
		return exitUsage
	}
	if _, ok := errors.AsType[*lineError](err); ok {
		return exitBadInput
	}
	return exitFailed
}

// newLogger makes the logger that the command line asks for. Logs go to
// standard error, so that standard output is the command's own.
func (c logConfig) newLogger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.level}
	if c.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

type logConfig struct {
	format string
	level  slog.Level
}

func (c *logConfig) define(s *settings) {
	s.Section("Log lines")
	define(s, "log-format", "text|json", "text", "form of the log lines", &c.format, oneOf("text", "json"))
	define(s, "log-level", "debug|info|warn|error", "info", "least level logged", &c.level, parseLevel)
}
