//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the limit program, as bench itself is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == limitCommand {
		if err := runLimit(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// TestBench runs every section, as small as can be: the figures mean nothing,
// but what is counted must be right.
func TestBench(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster and builds the server")
	}
	o := options{
		postgresBin: os.Getenv("NOTIFIER_POSTGRES_BIN"),
		rounds:      1, memoryRounds: 1,
		writers: []int{2}, commitRun: time.Second, bulkRows: 2000,
		subscribers: 20, latencyRun: 200 * time.Millisecond,
		apartEvents: 5, flatEvents: 6000,
		idle: 60, settle: 10 * time.Millisecond, logins: 1, stored: leastStored,
	}
	var out strings.Builder
	b, err := newBench(t.Context(), o, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	if err := b.runSections(t.Context()); err != nil {
		t.Fatalf("%v\nafter\n%s", err, out.String())
	}
	for _, wanted := range []string{"(a) commits", "(a) rows", "(b) milliseconds", "(c) CPU", "(c) deliveries", "(d) resident", "(e) CPU", "(e) milliseconds", "(f) milliseconds", "(i) commits", "(i) rows", "(j) bytes", "(j) blocks"} {
		if !strings.Contains(out.String(), "\n"+wanted) {
			t.Errorf("no table %q in\n%s", wanted, out.String())
		}
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	o, err := parseOptions([]string{"-quick", "-only", "a,d", "-rounds", "5"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if o.rounds != 5 || o.idle != 2000 || !o.wants("a") || o.wants("b") || o.wants("c") || !o.wants("d") {
		t.Errorf("options are %+v", o)
	}
	for _, args := range [][]string{{"-only", "a,x"}, {"-only", "ab"}, {"rest"}, {"-unknown"}} {
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q was understood", args)
		}
	}
}

func TestParsePgbench(t *testing.T) {
	t.Parallel()
	const out = `transaction type: insert.sql
number of transactions actually processed: 12345
number of failed transactions: 0 (0.000%)
latency average = 0.3 ms
initial connection time = 4.1 ms
tps = 1234.567890 (without initial connection time)
`
	got, err := parsePgbench(out)
	if err != nil || got != (written{12345, 1234.56789}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parsePgbench("pgbench: fatal"); err == nil {
		t.Error("output without figures was read")
	}
}
