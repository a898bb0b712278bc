package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// VersionError says that a data folder was made by another major version than the binaries at hand.
// The folder is left as it is.
type VersionError struct {
	DataDir string
	Data    int // major version that made the folder
	Found   int // major version of the binaries; 0 if there are none at all
	BinDir  string
}

// Error names both versions and the way out.
func (e *VersionError) Error() string {
	found := "no PostgreSQL binaries were found"
	if e.Found != 0 {
		found = fmt.Sprintf("the binaries in %q are PostgreSQL %d", e.BinDir, e.Found)
	}
	return fmt.Sprintf("use data folder %q: it was made by PostgreSQL %d, but %s: name binaries of version %d, or another folder (nothing was changed)",
		e.DataDir, e.Data, found, e.Data)
}

// dataVersion is the major version that made a data folder; 0 if there is no folder, or an empty one.
func dataVersion(dataDir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err == nil {
		major, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return 0, fmt.Errorf("read version of data folder %q: %w", dataDir, err)
		}
		return major, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read version of data folder: %w", err)
	}
	entries, err := os.ReadDir(dataDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read data folder: %w", err)
	}
	if len(entries) > 0 {
		return 0, fmt.Errorf("use data folder %q: it is not empty and not PostgreSQL's (no PG_VERSION)", dataDir)
	}
	return 0, nil
}

// initialize makes the data folder: beside its place first, then renamed, so that a folder called
// data is always a whole one. What an interrupted attempt left is swept.
func (s *Server) initialize(ctx context.Context) error {
	s.sweep()
	dir, err := os.MkdirTemp(s.config.Dir, "data.new-")
	if err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := s.account.own(dir); err != nil {
		return fmt.Errorf("hand data folder to user %q: %w", s.account.name, err)
	}
	if err := s.initdb(ctx, dir); err != nil {
		return err
	}
	if err := os.Remove(s.config.dataDir()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace empty data folder: %w", err)
	}
	if err := os.Rename(dir, s.config.dataDir()); err != nil {
		return fmt.Errorf("put data folder in place: %w", err)
	}
	return nil
}

// sweep removes what attempts that were killed left. An initdb of theirs may still be running
// in its folder, so what cannot be removed now is left for the next time.
func (s *Server) sweep() {
	for _, pattern := range []string{"data.new-*", "password-*"} {
		left, _ := filepath.Glob(filepath.Join(globEscape(s.config.Dir), pattern))
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
}

// globEscape keeps a folder's own special characters from being taken for a pattern.
func globEscape(path string) string {
	if os.PathSeparator == '\\' {
		return path // Windows has no escape; a folder with [ in its name is only not swept
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// initdb runs initdb into an empty folder.
func (s *Server) initdb(ctx context.Context, dir string) error {
	password, err := s.passwordFile()
	if err != nil {
		return err
	}
	defer os.Remove(password)
	args := []string{"-D", dir, "-U", s.config.User, "--pwfile=" + password, "-A", "scram-sha-256",
		"-E", "UTF8", "--locale=C"}
	if !s.config.Durable {
		args = append(args, "--no-sync")
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, executable(s.bin.Dir, "initdb"), args...)
	cmd.Dir, cmd.Env = s.config.Dir, serverEnv()
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // its child postgres ends by itself, but holds the pipe until then
	s.account.apply(cmd)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run initdb of %s: %w: %s", s.bin.Dir, errors.Join(err, context.Cause(ctx)), lastLines(out.String()))
	}
	return nil
}

// passwordFile writes the superuser's password where initdb, and nobody else, can read it:
// an argument would show in the list of processes.
func (s *Server) passwordFile() (string, error) {
	f, err := os.CreateTemp(s.config.Dir, "password-") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write password file: %w", err)
	}
	_, err = f.WriteString(s.config.Password + "\n")
	if err := errors.Join(err, f.Close(), s.account.own(f.Name())); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("write password file: %w", err)
	}
	return f.Name(), nil
}

// serverEnv is our environment without what would change the server's behaviour or its messages' language.
func serverEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return env
}
