package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/notifier/db/embedded"
)

func TestStart_OtherMajorVersionIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := start(t, config(dir))
	write(t, s.URL(""))
	stop(t, s)
	version := filepath.Join(dir, "data", "PG_VERSION")
	before, err := os.ReadFile(version)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, version, "12\n")
	_, err = embedded.Start(t.Context(), config(dir))
	mismatch, ok := errors.AsType[*embedded.VersionError](err)
	if !ok || mismatch.Data != 12 || mismatch.Found != s.Binaries().Major {
		t.Errorf("got %v", err)
	}
	overwrite(t, version, string(before))
	if got := read(t, start(t, config(dir)).URL("")); got != 1 {
		t.Errorf("rows after the refusal: %d, want 1", got)
	}
}

// overwrite keeps a file's owner and mode.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStart_ForeignFolderIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	thesis := filepath.Join(dir, "data", "thesis.txt")
	if err := os.MkdirAll(filepath.Dir(thesis), 0o755); err != nil {
		t.Fatal(err)
	}
	overwrite(t, thesis, "the only copy")
	if _, err := embedded.Start(t.Context(), config(dir)); err == nil || !strings.Contains(err.Error(), "no PG_VERSION") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(thesis); err != nil || string(text) != "the only copy" {
		t.Errorf("file of the folder now: %q, %v", text, err)
	}
}

func TestStart_FolderOfALivingOwnerIsRefused(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := start(t, config(dir))
	_, err := embedded.Start(t.Context(), config(dir))
	if !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("second start: %v", err)
	}
	if err := embedded.Remove(t.Context(), dir); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("remove: %v", err)
	}
	write(t, s.URL("")) // unharmed
}

// What a start that was killed leaves must not be in the way of the next.
func TestStart_SweepsAHalfMadeCluster(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	half := filepath.Join(dir, "data.new-123")
	for _, path := range []string{filepath.Join(half, "base"), filepath.Join(dir, "data")} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(t, filepath.Join(dir, "password-123"), "secret")
	write(t, start(t, config(dir)).URL(""))
	for _, path := range []string{half, filepath.Join(dir, "password-123")} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path, err)
		}
	}
}
