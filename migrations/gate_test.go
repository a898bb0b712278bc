package migrations_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

// The locks by their numbers, to stand in for a writer or a reader at any moment between two of its steps.
const (
	tailShared    = "pg_try_advisory_xact_lock_shared(1853059945, 1)"
	tailExclusive = "pg_try_advisory_xact_lock(1853059945, 1)"
	// secondTail is taken where the first can't be had.
	secondTail          = "pg_try_advisory_xact_lock_shared(1853059945, 3)"
	secondTailExclusive = "pg_try_advisory_xact_lock(1853059945, 3)"
	// gateExclusive takes every gate there is, whatever the time.
	gateExclusive = "bool_and(pg_try_advisory_xact_lock(1853059946, gate)) FROM generate_series(0, 1199) AS gate"
)

func tailFree(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	return scalar[bool](t, conn, "SELECT notifier.try_tail()")
}

// hold takes locks in a transaction that the caller ends.
func hold(t *testing.T, databaseURL string, locks ...string) *pgx.Conn {
	t.Helper()
	conn := dbtest.Connect(t, databaseURL)
	exec(t, conn, "BEGIN")
	for _, lock := range locks {
		if !scalar[bool](t, conn, "SELECT "+lock) {
			t.Fatalf("%s is taken", lock)
		}
	}
	return conn
}

// Whoever holds whatever for however long, a commit waits for nobody: here with a lock timeout that no wait would
// survive. It rings unless somebody else is about to. (A cluster of its own: NOTIFY itself takes a lock that all
// databases of a cluster share.)
func TestGate_ACommitNeverWaits(t *testing.T) {
	t.Parallel()
	url := dbtest.NewCluster(t).URL("")
	bell := listen(t, url)
	conn := dbtest.Connect(t, url)
	exec(t, conn, "SET lock_timeout = '1ms'")
	for _, c := range []struct {
		holder string
		held   []string
		want   int
	}{
		{"nobody", nil, 1},
		{"a ringer", []string{tailShared, gateExclusive}, 0},
		{"a silent writer", []string{tailShared}, 1},
		{"a silent writer with the second tail", []string{secondTail}, 1},
		{"a ringer with the second tail, and a change that waits", []string{tailExclusive, secondTail, gateExclusive}, 0},
		{"a change that waits", []string{tailExclusive}, 1},
		{"a reader", []string{tailExclusive, secondTailExclusive, gateExclusive}, 1},
		{"a reader who is about to look at the gate", []string{tailExclusive, secondTailExclusive}, 1},
	} {
		holder := hold(t, url, c.held...)
		exec(t, conn, one, many, "SELECT notifier.publish('a')")
		if got := bell.heard(t); got != 3*c.want {
			t.Errorf("%s: the bell rang %d times for 3 transactions, want %d", c.holder, got, 3*c.want)
		}
		exec(t, holder, "ROLLBACK")
	}
}

// The tail lock tells the reader about every transaction that silences others.
func TestGate_WhoeverHasItHasTheTail(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	reader := hold(t, url, tailExclusive, secondTailExclusive)
	writer := dbtest.Connect(t, url)
	exec(t, writer, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
	exec(t, reader, "ROLLBACK")
	hold(t, url, gateExclusive)
}

func TestGate_TryTail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held []string
		want bool
	}{
		"nobody":                         {nil, true},
		"a ringer":                       {[]string{tailShared, gateExclusive}, false},
		"a silent writer":                {[]string{tailShared}, false},
		"one with the second tail":       {[]string{secondTail}, false},
		"a ringer giving its locks back": {[]string{gateExclusive}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t)
			hold(t, url, c.held...)
			if got := tailFree(t, dbtest.Connect(t, url)); got != c.want {
				t.Errorf("the tail is free: %v, want %v", got, c.want)
			}
		})
	}
}

func TestGate_ASilentWriterShowsUntilItHasEnded(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	reader, ringer, silent := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)

	exec(t, ringer, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE", "SELECT "+gateExclusive)
	exec(t, silent, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
	exec(t, ringer, "COMMIT")
	if got := bell.heard(t); got != 1 {
		t.Errorf("the ringer rang %d times, want once", got)
	}
	if tailFree(t, reader) {
		t.Error("the reader does not see the silent writer")
	}
	exec(t, silent, "COMMIT")
	if !tailFree(t, reader) {
		t.Error("the silent writer still shows after its commit")
	}
	if got := bell.heard(t); got != 0 {
		t.Errorf("the silent writer rang %d times, want never", got)
	}
}

// A transaction of a single statement decides with its first row: it may go on for long after that.
func TestGate_ASilentStatementShowsUntilItHasEnded(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	reader, ringer, silent := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, reader, "SELECT pg_advisory_lock(1)")
	exec(t, ringer, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE", "SELECT "+gateExclusive)
	ended := make(chan error, 1)
	go func() { // ends when the reader lets it
		_, err := silent.Exec(t.Context(), "WITH event AS ("+one+" RETURNING id) SELECT pg_advisory_xact_lock(1) FROM event")
		ended <- err
	}()
	dbtest.Eventually(t, "the statement is under way", func() bool {
		return scalar[bool](t, reader, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
	})
	exec(t, ringer, "COMMIT")
	bell.heard(t)
	if tailFree(t, reader) {
		t.Error("the reader does not see the silent statement")
	}
	exec(t, reader, "SELECT pg_advisory_unlock(1)")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !tailFree(t, reader) {
		t.Error("the silent statement still shows after its end")
	}
	if got := bell.heard(t); got != 0 {
		t.Errorf("the silent statement rang %d times, want never", got)
	}
}

// Prepared statements are how most clients write: their transaction begins with Bind, and the statement a few
// microseconds later with Execute. That is no transaction of several statements, which would take the longer way.
func TestGate_APreparedStatementIsSilentAtOnce(t *testing.T) {
	t.Parallel()
	const many = 100
	url := dbtest.New(t)
	hold(t, url, tailShared, gateExclusive)
	conn := dbtest.Connect(t, url)
	for range many {
		if _, err := conn.Exec(t.Context(), "INSERT INTO notifier.events (type) VALUES ($1)", "a"); err != nil {
			t.Fatal(err)
		}
	}
	if n := scalar[int](t, conn, "SELECT count(*)::int FROM notifier.events WHERE rings IS NULL"); n < many/10 {
		t.Errorf("%d of %d were silent at once", n, many)
	}
}

// The reader's own look at the tail lock must not be held beyond its statement, or writers would ring for nothing.
func TestGate_TryTailReleasesAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	a, b := dbtest.Connect(t, url), dbtest.Connect(t, url)
	for range 3 {
		if !tailFree(t, a) || !tailFree(t, b) {
			t.Fatal("the tail is taken")
		}
	}
}

// A writer takes its two locks one after the other, and a ringer may commit, wake the reader and be read between
// the two. Tail first, the reader sees the writer, or the writer gets the gate and rings. Gate first, neither: the
// writer's event is committed and nobody looks for it.
func TestGate_OrderOfTheLocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gateFirst bool
		found     bool
	}{
		"tail first": {false, true},
		"gate first": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t)
			bell := listen(t, url)
			reader, ringer, writer := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
			exec(t, writer, "SET notifier.doorbell = off", "BEGIN", one) // it rings by hand
			exec(t, ringer, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
			// The writer asks for the same gate, as who commits at the same time does.
			sameGate := fmt.Sprintf("pg_try_advisory_xact_lock(1853059946, %d)", scalar[int](t, ringer,
				"SELECT objid::bigint::int FROM pg_locks WHERE classid = 1853059946 AND pid = pg_backend_pid()"))
			steps := []string{tailShared, sameGate}
			if c.gateFirst {
				steps = []string{sameGate, tailShared}
			}

			first := scalar[bool](t, writer, "SELECT "+steps[0])
			exec(t, ringer, "COMMIT")
			if got := bell.heard(t); got != 1 {
				t.Fatalf("the ringer rang %d times, want once", got)
			}
			readerLooksAgain := !tailFree(t, reader)
			if n := scalar[int](t, reader, "SELECT count(*)::int FROM notifier.events"); n != 1 {
				t.Fatalf("the reader found %d events, want the ringer's", n)
			}
			second := scalar[bool](t, writer, "SELECT "+steps[1])
			tail, gate := first, second
			if c.gateFirst {
				tail, gate = second, first
			}
			if gate || !tail {
				exec(t, writer, "NOTIFY notifier")
			}
			exec(t, writer, "COMMIT")

			if found := readerLooksAgain || bell.heard(t) > 0; found != c.found {
				t.Errorf("the writer's event is found: %v, want %v", found, c.found)
			}
		})
	}
}

// What the test above says of the order holds for what is installed.
func TestGate_TheDoorbellTakesTheTailFirst(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	for name, source := range map[string]string{
		"at the end": "SELECT prosrc FROM pg_proc WHERE oid = 'notifier.ring'::regproc",
		"at once": `SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute ON (attrelid, attnum) = (adrelid, adnum)
			WHERE adrelid = 'notifier.events'::regclass AND attname = 'rings'`,
	} {
		text := scalar[string](t, conn, source)
		tail, gate := strings.Index(text, tailShared), strings.Index(text, "pg_try_advisory_xact_lock(1853059946,")
		if tail < 0 || gate < tail {
			t.Errorf("%s: tail at %d, gate at %d:\n%s", name, tail, gate, text)
		}
	}
}

// A queue that is full fails the commit that adds to it. It can be filled here only where its size can be set
// (PostgreSQL 17); elsewhere the threshold is moved instead.
func TestQueue_NearlyFullIsNotAddedTo(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t)
	url := cluster.URL("")
	conn := dbtest.Connect(t, url)
	fill := func() {
		exec(t, conn, strings.Replace(
			scalar[string](t, conn, "SELECT pg_get_functiondef('notifier.ring'::regproc)"), "0.5", "0.0", 1))
	}
	if cluster.Binaries().Major >= 17 {
		exec(t, conn, "ALTER SYSTEM SET max_notify_queue_pages = 64")
		if err := cluster.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn = dbtest.Connect(t, url)
		fill = func() { fillQueue(t, url) }
	}
	bell := listen(t, url)
	exec(t, conn, one)
	if got := bell.heard(t); got != 1 {
		t.Errorf("with room in the queue the bell rang %d times, want once", got)
	}
	fill()
	exec(t, conn, one, many)
	if got := bell.heard(t); got != 0 {
		t.Errorf("with the queue nearly full the bell rang %d times, want never", got)
	}
	if n := scalar[int](t, conn, "SELECT count(*)::int FROM notifier.events"); n != 1002 {
		t.Errorf("%d events are stored, want 1002", n)
	}
}

// fillQueue fills most of the queue, which a listener in an open transaction keeps from moving on.
func fillQueue(t *testing.T, databaseURL string) {
	t.Helper()
	blocker, filler := dbtest.Connect(t, databaseURL), dbtest.Connect(t, databaseURL)
	exec(t, blocker, "LISTEN others", "BEGIN", "SELECT 1")
	for i := 0; scalar[float64](t, filler, "SELECT pg_notification_queue_usage()") < 0.7; i++ {
		exec(t, filler, fmt.Sprintf("SELECT pg_notify('others', repeat('x', 7000) || %d)", i))
	}
}
