package embedded

import (
	"context"
	"fmt"
	"io"
	"slices"

	library "github.com/fergusstrange/embedded-postgres"
)

// supported are the major versions that notifier is tested on, and what is downloaded of each.
var supported = map[int]library.PostgresVersion{
	14: library.V14,
	15: library.V15,
	16: library.V16,
	17: library.V17,
	18: library.V18,
}

// Majors returns the major versions of PostgreSQL that notifier supports, and newer ones that
// this machine has, in order.
func Majors(ctx context.Context) []int {
	return newFinder(account{}).majors(ctx)
}

func (f finder) majors(ctx context.Context) []int {
	var all []int
	for major := range supported {
		all = append(all, major)
	}
	newest := slices.Max(all)
	for dir := range f.candidates(ctx) {
		if b, err := f.probe(ctx, dir); err == nil && b.Major > newest {
			all = append(all, b.Major)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Obtain returns binaries of a major version: those in the named folder, which must be of it; or,
// if dir is empty, those that this machine has, or that a download brings.
func Obtain(ctx context.Context, major int, dir string, d Download, progress io.Writer) (Binaries, error) {
	c := Config{BinDir: dir, Download: d.filled(), Progress: progress}
	return obtain(ctx, c, newFinder(account{}), major)
}

func obtain(ctx context.Context, c Config, f finder, major int) (Binaries, error) {
	if c.BinDir != "" {
		b, err := f.probe(ctx, c.BinDir)
		if err == nil && b.Major != major {
			return Binaries{}, fmt.Errorf("look in %q: it has PostgreSQL %s, wanted %d", c.BinDir, b.Version, major)
		}
		return b, err
	}
	b, err := f.find(ctx, major)
	version, known := supported[major]
	if err == nil || ctx.Err() != nil || !c.Download.Allowed || !known {
		return b, err
	}
	c.Download.Version = string(version)
	return download(ctx, c, f)
}
