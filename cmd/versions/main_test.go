//go:build !windows

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/notifier/db/embedded"
)

// fakePostgres makes a folder of programs that print a version.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho '" + name + " (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRun_SaysOfEachVersionHowItWent(t *testing.T) {
	t.Parallel()
	good, bad := fakePostgres(t, "14.9"), fakePostgres(t, "18.1")
	broken := errors.New("a test failed")
	for _, test := range []struct {
		name string
		args []string
		want string // of what is printed, the times left out
		err  string // "": none
	}{
		{"all pass", []string{"14=" + good}, "14: passed (14.9", ""},
		{"one fails", []string{"18=" + bad, "14=" + good}, "18: FAILED (18.1|14: passed (14.9", "PostgreSQL 18: a test failed"},
		{"a folder of another version", []string{"15=" + good, "14=" + good}, "15: not found|14: passed (14.9", "PostgreSQL 15: not found"},
		{"a folder of nothing", []string{"14=" + t.TempDir()}, "14: not found", "no version that it passed on"},
		{"no number", []string{"14", "latest"}, "", `"latest"`},
		{"no folder", []string{"14="}, "", `"14="`},
	} {
		var out, progress strings.Builder
		v := versions{out: &out, progress: &progress, test: func(_ context.Context, b embedded.Binaries) error {
			if b.Dir == bad {
				return broken
			}
			return nil
		}}
		err := v.run(t.Context(), test.args)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.err)
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), ", ")
			lines = append(lines, strings.TrimPrefix(line, "PostgreSQL "))
		}
		if got := strings.Join(lines, "|"); got != test.want {
			t.Errorf("%s: printed %q, want %q\n%s", test.name, got, test.want, &progress)
		}
	}
}

// What is run on each version must be there: a test that is renamed would be left out in silence.
func TestTests_AreThere(t *testing.T) {
	t.Parallel()
	for _, some := range tests {
		for _, folder := range some.packages {
			var text strings.Builder
			files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
			if err != nil || len(files) == 0 {
				t.Errorf("no tests in %s: %v", folder, err)
			}
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text.Write(content)
			}
			for _, name := range some.names {
				if !strings.Contains(text.String(), "func "+name) {
					t.Errorf("%s has no %s", folder, name)
				}
			}
		}
	}
}
