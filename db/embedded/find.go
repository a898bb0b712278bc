package embedded

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoBinaries is wrapped when the machine has no PostgreSQL that could be used.
var ErrNoBinaries = errors.New("no usable PostgreSQL binaries")

// oldestMajor is the first PostgreSQL with xid8 and pg_current_xact_id, which notifier's schema needs.
const oldestMajor = 13

// probeTimeout bounds one run of a candidate's "--version".
const probeTimeout = 10 * time.Second

// Binaries is a folder with an initdb and a postgres of one version that really run.
type Binaries struct {
	Dir     string
	Version string // as printed, e.g. "15.18"
	Major   int
}

// finder looks for binaries. Its fields are what it looks at, so that tests can set them.
type finder struct {
	path    string   // as in $PATH
	usual   []string // glob patterns of folders
	account account  // who must be able to run them
}

// Find looks for binaries on PATH, by pg_config, and in the usual places of Debian, Red Hat,
// Homebrew, Postgres.app and Windows, the newest first. It skips candidates that do not run.
func Find(ctx context.Context) (Binaries, error) {
	return newFinder(account{}).find(ctx, 0)
}

func newFinder(a account) finder {
	return finder{path: os.Getenv("PATH"), account: a, usual: []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/usr/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		`C:\Program Files\PostgreSQL\*\bin`,
	}}
}

// find returns the first candidate that runs, of the given major version unless that is 0.
func (f finder) find(ctx context.Context, major int) (Binaries, error) {
	skipped := []error{ErrNoBinaries}
	seen := map[string]bool{}
	for dir := range f.candidates(ctx) {
		if seen[dir] {
			continue
		}
		seen[dir] = true
		b, err := f.probe(ctx, dir)
		switch {
		case ctx.Err() != nil:
			return Binaries{}, context.Cause(ctx)
		case err != nil:
			skipped = append(skipped, err)
		case major != 0 && b.Major != major:
			skipped = append(skipped, fmt.Errorf("look in %q: it has PostgreSQL %s, wanted %d", dir, b.Version, major))
		default:
			return b, nil
		}
	}
	return Binaries{}, errors.Join(skipped...)
}

// candidates yields folders that hold an initdb and a postgres, lazily: the later ones cost more to find.
func (f finder) candidates(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		offer := func(dir string) bool {
			return !filepath.IsAbs(dir) || !holds(dir, "initdb", "postgres") || yield(dir)
		}
		for _, dir := range filepath.SplitList(f.path) {
			if !offer(dir) {
				return
			}
		}
		if dir := f.pgConfig(ctx); dir != "" && !offer(dir) {
			return
		}
		for _, dir := range f.usualPlaces() {
			if !offer(dir) {
				return
			}
		}
	}
}

// pgConfig asks the pg_config on the path, if there is one, for its folder.
func (f finder) pgConfig(ctx context.Context) string {
	for _, dir := range filepath.SplitList(f.path) {
		if !filepath.IsAbs(dir) || !holds(dir, "pg_config") {
			continue
		}
		if out, err := f.run(ctx, executable(dir, "pg_config"), "--bindir"); err == nil {
			return strings.TrimSpace(out)
		}
	}
	return ""
}

// usualPlaces are the folders matching the patterns, the newest version first.
func (f finder) usualPlaces() []string {
	var dirs []string
	for _, pattern := range f.usual {
		matches, _ := filepath.Glob(pattern) // the only error is a bad pattern, and ours are constants
		dirs = append(dirs, matches...)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return versionInPath(b) - versionInPath(a) })
	return dirs
}

// versionInPath is the last number of a path; none counts as the oldest.
func versionInPath(path string) int {
	numbers := regexp.MustCompile(`\d+`).FindAllString(path, -1)
	if len(numbers) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(numbers[len(numbers)-1])
	return n
}

// probe runs what a folder holds. Links are followed first: a folder of links to initdb and
// postgres alone (a packager's shims) would hide psql and pgbench next to the real ones.
func (f finder) probe(ctx context.Context, dir string) (Binaries, error) {
	if real, err := filepath.EvalSymlinks(executable(dir, "postgres")); err == nil && holds(filepath.Dir(real), "initdb", "postgres") {
		dir = filepath.Dir(real)
	}
	server, err := f.version(ctx, dir, "postgres")
	if err != nil {
		return Binaries{}, err
	}
	initdb, err := f.version(ctx, dir, "initdb")
	if err != nil {
		return Binaries{}, err
	}
	if initdb != server {
		return Binaries{}, fmt.Errorf("look in %q: initdb is version %s and postgres %s", dir, initdb, server)
	}
	b := Binaries{Dir: dir, Version: server, Major: majorOf(server)}
	if b.Major < oldestMajor {
		return Binaries{}, fmt.Errorf("look in %q: PostgreSQL %s is too old, %d is the oldest that works", dir, server, oldestMajor)
	}
	return b, nil
}

// version is what "NAME --version" prints behind "(PostgreSQL)".
func (f finder) version(ctx context.Context, dir, name string) (string, error) {
	out, err := f.run(ctx, executable(dir, name), "--version")
	if err != nil {
		return "", fmt.Errorf("look in %q: %w", dir, err)
	}
	_, rest, ok := strings.Cut(out, "(PostgreSQL) ")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 || majorOf(fields[0]) == 0 {
		return "", fmt.Errorf("look in %q: %s --version printed %.60q", dir, name, out)
	}
	return fields[0], nil
}

// run executes a candidate as the user who will run the server later.
func (f finder) run(ctx context.Context, program, arg string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, arg)
	cmd.Dir = filepath.Dir(program) // ours may be closed to the account
	cmd.Env = serverEnv()
	cmd.WaitDelay = time.Second
	f.account.apply(cmd)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s %s: %w", program, arg, err)
	}
	return string(out), nil
}

// majorOf reads 18 out of "18.3", "18beta1" and "18devel"; 0 if there is no number.
func majorOf(version string) int {
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	n, _ := strconv.Atoi(version[:end])
	return n
}

func holds(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		info, err := os.Stat(executable(dir, name))
		return err != nil || info.IsDir()
	})
}

func executable(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}
