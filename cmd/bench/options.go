//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options say what is measured, and how long.
type options struct {
	only        []string // letters of sections; empty: all
	rounds      int
	dir         string // where the cluster goes; "": the system's folder for such things
	postgresBin string // "": found
	notifier    string // the program; "": built

	writers      []int
	commitRun    time.Duration // length of one run of (a) and (i)
	bulkRows     int           // of one statement in (a) and (i)
	subscribers  int           // of (b), (c) and (e)
	latencyRun   time.Duration
	apartEvents  int // events of (c) and (e) that each subscriber gets apart from each other
	flatEvents   int // the same, flat out; a multiple of listRows
	idle         int // subscribers of (d), and those of (e) that lose access
	settle       time.Duration
	memoryRounds int
	logins       int // of each kind in (f)
	stored       int // rows of the log in (j)
	plans        bool
}

// standard is the length that figures are published of.
func standard() options {
	return options{
		rounds: 3, memoryRounds: 1,
		writers: []int{1, 8, 32}, commitRun: 10 * time.Second, bulkRows: 100_000,
		subscribers: 1000, latencyRun: 10 * time.Second,
		apartEvents: 500, flatEvents: 12_000,
		idle: 10_000, settle: 150 * time.Second,
		logins: 10, stored: 2_000_000,
	}
}

// shorten makes a run that shows whether everything works, in a minute or two. Its
// figures are rough.
func (o *options) shorten() {
	o.rounds = 1
	o.writers = []int{1, 32}
	o.commitRun = time.Second
	o.bulkRows = 20_000
	o.latencyRun = 2 * time.Second
	o.apartEvents = 100
	o.flatEvents = 3000
	o.idle = 2000
	o.settle = 2 * time.Second
	o.logins = 3
	o.stored = 200_000
}

func parseOptions(args []string, output io.Writer) (options, error) {
	o := standard()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(output)
	quick := flags.Bool("quick", false, "rough figures in a minute or two")
	only := flags.String("only", "", "sections to run, such as a,c: a commits, b latency, c fanout, d memory, e access, f logins, g reconnects, h a slow client, i watching, j scale")
	rounds := flags.Int("rounds", 0, "rounds of each comparison (default 3)")
	seconds := flags.Duration("run", 0, "length of one run of a, b, h and i (default 10s)")
	settle := flags.Duration("settle", 0, "idle time before memory is read (default 150s: Go tidies up every two minutes)")
	stored := flags.Int("stored", 0, "rows of the log in j, at least 100,000 (default 2,000,000; each takes 0.4 KB)")
	flags.BoolVar(&o.plans, "plans", false, "print also how the statements of j were carried out")
	flags.StringVar(&o.dir, "dir", "", "folder on a disk for the cluster")
	flags.StringVar(&o.postgresBin, "postgres-bin", "", "folder of the PostgreSQL programs (default: looked for)")
	flags.StringVar(&o.notifier, "notifier", "", "notifier program to measure (default: built)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		o.shorten()
	}
	override(&o.rounds, *rounds)
	override(&o.commitRun, *seconds)
	override(&o.latencyRun, *seconds)
	override(&o.settle, *settle)
	override(&o.stored, *stored)
	if o.stored < leastStored {
		return o, fmt.Errorf("-stored %d: %w", o.stored, errTooFew)
	}
	return o, o.choose(*only, flags.Args())
}

// override sets what a flag was given for.
func override[T ~int | ~int64](target *T, value T) {
	if value > 0 {
		*target = value
	}
}

// choose reads the list of sections.
func (o *options) choose(only string, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown argument %q", rest[0])
	}
	if only == "" {
		return nil
	}
	known := func(letter string) bool {
		return slices.ContainsFunc(sections(), func(s section) bool { return s.letter == letter })
	}
	o.only = strings.Split(only, ",")
	for _, letter := range o.only {
		if !known(letter) {
			return fmt.Errorf("-only %s: %w", only, errors.New("sections are a to j"))
		}
	}
	return nil
}

// wants reports whether a section is to be run.
func (o *options) wants(letter string) bool {
	return len(o.only) == 0 || slices.Contains(o.only, letter)
}
