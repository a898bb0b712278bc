package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/notifier/db/embedded"
)

// tests are what depends on the version: all that speaks SQL; and the way from a commit to a
// client of each protocol, in one process and by the program as it is started.
var tests = []struct {
	packages []string
	names    []string // what the tests' names begin with; none: all
}{
	{packages: []string{"./migrations", "./db", "./db/demo", "./db/doctor"}},
	{[]string{"./httpapi"}, []string{"TestEndToEnd_", "TestResume_Ernius", "TestResume_Airlay", "TestResume_DRP", "TestResume_Sysadm", "TestSSE_GoesOnOverADatabase"}},
	{[]string{"./cmd/notifier"}, []string{"TestPushAndWatch_RoundTrip", "TestDev_PrintedLinesWork"}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	v := versions{out: os.Stdout, progress: os.Stderr, download: embedded.Download{Allowed: true}, test: goTest}
	err := v.run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "versions:", err)
		os.Exit(1)
	}
}

// versions runs the tests on several versions of Postgres.
type versions struct {
	out, progress io.Writer
	download      embedded.Download
	test          func(ctx context.Context, b embedded.Binaries) error
}

// wanted is a version to be tested on.
type wanted struct {
	major int
	dir   string // where its binaries are, "" if they are to be looked for
	asked bool   // by the caller
}

// parse reads MAJOR and MAJOR=FOLDER.
func parse(args []string) ([]wanted, error) {
	var all []wanted
	for _, arg := range args {
		number, dir, named := strings.Cut(arg, "=")
		major, err := strconv.Atoi(number)
		if err != nil || major <= 0 || named && dir == "" {
			return nil, fmt.Errorf("%q is neither a major version of Postgres nor one with its folder, as 18=/usr/lib/postgresql/18/bin", arg)
		}
		if named {
			if dir, err = filepath.Abs(dir); err != nil { // the tests run in folders of their own
				return nil, fmt.Errorf("look for %q: %w", dir, err)
			}
		}
		all = append(all, wanted{major, dir, true})
	}
	return all, nil
}

func (v versions) run(ctx context.Context, args []string) error {
	all, err := parse(args)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		for _, major := range embedded.Majors(ctx) {
			all = append(all, wanted{major: major})
		}
	}
	var summary strings.Builder
	var problems []error
	passed := 0
	for _, w := range all {
		line, err := v.one(ctx, w)
		if err == nil {
			passed++
		}
		if err != nil && (w.asked || !errors.Is(err, errNotFound)) {
			problems = append(problems, err)
		}
		fmt.Fprintf(&summary, "PostgreSQL %d: %s\n", w.major, line)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	fmt.Fprint(v.out, summary.String())
	if passed == 0 {
		problems = append(problems, errors.New("there is no version that it passed on"))
	}
	return errors.Join(problems...)
}

var errNotFound = errors.New("not found")

// one runs the tests on one version and says in a line how it went.
func (v versions) one(ctx context.Context, w wanted) (string, error) {
	b, err := embedded.Obtain(ctx, w.major, w.dir, v.download, v.progress)
	if err != nil {
		fmt.Fprintf(v.progress, "PostgreSQL %d: %v\n", w.major, err)
		return "not found", fmt.Errorf("PostgreSQL %d: %w", w.major, errNotFound)
	}
	fmt.Fprintf(v.progress, "PostgreSQL %s in %s\n", b.Version, b.Dir)
	began := time.Now()
	err = v.test(ctx, b)
	took := time.Since(began).Round(time.Second)
	if err != nil {
		return fmt.Sprintf("FAILED (%s, %v)", b.Version, took), fmt.Errorf("PostgreSQL %d: %w", w.major, err)
	}
	return fmt.Sprintf("passed (%s, %v)", b.Version, took), nil
}

// goTest runs all tests on some binaries, whichever fail first.
func goTest(ctx context.Context, b embedded.Binaries) error {
	var problems []error
	for _, some := range tests {
		args := []string{"test", "-timeout", "20m"}
		if len(some.names) > 0 {
			args = append(args, "-run", "^("+strings.Join(some.names, "|")+")")
		}
		args = append(args, some.packages...)
		command := exec.CommandContext(ctx, "go", args...)
		command.Env = append(os.Environ(), "NOTIFIER_POSTGRES_BIN="+b.Dir)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			problems = append(problems, fmt.Errorf("go %s: %w", strings.Join(args, " "), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(problems...)
}
