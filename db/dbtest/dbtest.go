package dbtest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// Main runs a package's tests, stops what this package started and fails if goroutines were
// left behind. What else the tests share, the caller's functions stop. It does not return.
func Main(m *testing.M, stops ...func()) {
	os.Exit(run(m, stops))
}

func run(m *testing.M, stops []func()) int {
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	if err := process.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest: stop test cluster:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code // a failed test leaves goroutines, which would only hide its message
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest: goroutines left behind:", err)
		return 1
	}
	return 0
}

// New returns the URL of a fresh database with notifier's schema. It is dropped, with
// whatever is connected to it, when the test ends.
func New(t testing.TB) string {
	t.Helper()
	return fresh(t, true)
}

// Empty is like New without the schema.
func Empty(t testing.TB) string {
	t.Helper()
	return fresh(t, false)
}

func fresh(t testing.TB, migrated bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*operationTimeout) // it may have to start the cluster
	defer cancel()
	databases, template, err := process.source(ctx, migrated)
	if err != nil {
		t.Fatalf("make a test database: %v", err)
	}
	name, url, err := databases.Clone(ctx, template, t.Name())
	if err != nil {
		t.Fatalf("make a test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), operationTimeout) // the test's own has ended
		defer cancel()
		if err := databases.Drop(ctx, name); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return url
}

// Connect opens a connection that is closed when the test ends.
func Connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect to test database: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Pool opens a pool that is closed when the test ends.
func Pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	// Not the test's context: it ends before the cleanups, which may still need the pool.
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatalf("open pool on test database: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// eventuallyTimeout is far beyond what anything should take on a machine with much else to do, since a test that meets
// it fails.
const eventuallyTimeout = 2 * time.Minute

// Eventually waits until a condition holds; what names it in the failure.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(eventuallyTimeout)
	defer deadline.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still not after %v: %s", eventuallyTimeout, what)
		case <-t.Context().Done():
			t.Fatalf("the test ended while waiting: %s", what)
		}
	}
}
