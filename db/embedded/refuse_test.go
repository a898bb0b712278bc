package embedded_test

import (
	"errors"
	"os"
	"os/exec"
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

// A server that somebody started by hand in our data folder is theirs.
func TestStart_ServerOfAnotherIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := start(t, config(dir))
	write(t, s.URL(""))
	url := s.URL("")
	stop(t, s)

	port := url[strings.LastIndex(url, ":")+1:]
	port, _, _ = strings.Cut(port, "/")
	cmd := exec.Command(s.Bin("postgres"), "-D", filepath.Join(dir, "data"), "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	asOwnerOf(t, cmd, filepath.Join(dir, "data"))
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Signal(os.Interrupt) }()
	pid := filepath.Join(dir, "data", "postmaster.pid")
	eventually(t, "the foreign server is ready", func() bool {
		text, _ := os.ReadFile(pid)
		return strings.Contains(string(text), "ready")
	})

	_, err := embedded.Start(t.Context(), config(dir))
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), "did not start") {
		t.Errorf("got %v", err)
	}
	if got := read(t, url); got != 1 {
		t.Errorf("rows in the foreign server: %d, want 1", got)
	}
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
