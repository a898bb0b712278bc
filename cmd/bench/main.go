//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// limitCommand is the argument by which bench runs itself as the limit program.
const limitCommand = "limit"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if ctx.Err() != nil {
		err = errors.New("interrupted") // whatever came of it
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program.
func run(ctx context.Context, args []string, in io.Reader, out, progress io.Writer) error {
	if len(args) > 0 && args[0] == limitCommand {
		return runLimit(in, out)
	}
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, out, progress)
	if err != nil {
		return err
	}
	return errors.Join(b.runSections(ctx), b.close())
}

// bench is what the sections share.
type bench struct {
	options
	out, progress io.Writer
	dir           string // for everything that is written; removed at the end
	cluster       *cluster
	binary        string // the notifier program, once it is built
}

// section is one of the things that are measured.
type section struct {
	letter, name string
	run          func(*bench, context.Context) error
}

func sections() []section {
	return []section{
		{"a", "commits", (*bench).measureCommits},
		{"b", "latency", (*bench).measureLatency},
		{"c", "fanout", (*bench).measureFanout},
		{"d", "memory", (*bench).measureMemory},
		{"e", "access", (*bench).measureAccess},
		{"f", "logins", (*bench).measureLogins},
		{"g", "reconnects", (*bench).measureReconnects},
		{"h", "slow client", (*bench).measureSlowClient},
		{"i", "watching", (*bench).measureWatching},
		{"j", "scale", (*bench).measureScale},
	}
}

func newBench(ctx context.Context, o options, out, progress io.Writer) (*bench, error) {
	raiseOpenFiles(uint64(max(o.idle, o.subscribers)) + 1000)
	dir, err := makeDir(o.dir)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, out: out, progress: progress, dir: dir}
	if b.cluster, err = startCluster(ctx, dir, o.postgresBin, progress); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

func (b *bench) runSections(ctx context.Context) error {
	if err := b.printMachine(ctx); err != nil {
		return err
	}
	for _, s := range sections() {
		if !b.wants(s.letter) {
			continue
		}
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	return nil
}

// close ends the cluster and removes what was written.
func (b *bench) close() error {
	return errors.Join(b.cluster.stop(), os.RemoveAll(b.dir))
}

// say tells a person who waits what is being measured.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}
