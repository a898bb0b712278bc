package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"example.com/notifier/db/embedded"
)

// ownerEnv makes this test binary the owner of a cluster in the folder it names, to be killed by a test.
const ownerEnv = "EMBEDDED_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		os.Exit(own(dir))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(scratch()))
}

// scratch gives the tests a temporary folder of their own, which any user can reach, and returns
// what removes it: the downloading library leaves an empty log in $TMPDIR each time.
func scratch() func(exitCode int) {
	dir, err := os.MkdirTemp("", "embedded-tests-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return func(exitCode int) {
		_ = os.RemoveAll(dir)
		os.Exit(exitCode)
	}
}

// own starts a cluster, says so on standard output, and stops it when standard input ends.
func own(dir string) int {
	ctx := context.Background()
	s, err := embedded.Start(ctx, config(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("%d %s\n", s.PID(), s.URL(""))
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// config is a cluster for tests; NOTIFIER_POSTGRES_BIN names binaries as everywhere in the project.
func config(dir string) embedded.Config {
	return embedded.Config{Dir: dir, BinDir: os.Getenv("NOTIFIER_POSTGRES_BIN")}
}

// clusterDir is a folder the cluster's user can reach, which t.TempDir is not when root runs the tests.
func clusterDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Errorf("remove test folder: %v", err)
		}
	})
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(parent, "cluster")
}

// start starts a cluster that ends with the test.
func start(t *testing.T, c embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), c)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// write commits one row, read counts the rows written.
func write(t *testing.T, url string) {
	t.Helper()
	_, err := connect(t, url).Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept (n int); INSERT INTO kept VALUES (1)")
	if err != nil {
		t.Fatalf("write: %v", err)
	}
}

func read(t *testing.T, url string) (rows int) {
	t.Helper()
	if err := connect(t, url).QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&rows); err != nil {
		t.Fatalf("read: %v", err)
	}
	return rows
}
