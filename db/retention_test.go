package db_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// retain does one round of retention and returns how many events went.
func retain(t *testing.T, d *db.DB) int64 {
	t.Helper()
	removed, err := d.RetainOnce(t.Context())
	if err != nil {
		t.Fatalf("retain: %v", err)
	}
	return removed
}

// keysLeft returns the keys of the stored events in the order of their ids.
func keysLeft(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return fmt.Sprint(column[string](t, conn, `SELECT key FROM notifier.events ORDER BY id`))
}

// backdate records the present position as taken that long ago.
func backdate(t *testing.T, conn *pgx.Conn, ago string) {
	t.Helper()
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position)
		SELECT now() - $1::text::interval, pg_current_snapshot()`, ago)
}

func TestRetainOnce_RemovesWhatTheFloorCovers(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, late := dbtest.Connect(t, url), dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, Retention: 7 * 24 * time.Hour})
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a')`)
	backdate(t, conn, `9 days`)
	exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ('b', 'infinity')`)
	exec(t, late, `BEGIN`)
	exec(t, late, `INSERT INTO notifier.events (key, created_at) VALUES ('open at the floor', '2001-01-01')`)
	backdate(t, conn, `8 days`)
	exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ('c', '2001-01-01')`)
	backdate(t, conn, `6 days`)
	if removed := retain(t, d); removed != 2 {
		t.Errorf("removed %d, want 2", removed)
	}
	exec(t, late, `COMMIT`)
	if got, want := keysLeft(t, conn), `[open at the floor c]`; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	if removed := retain(t, d); removed != 0 {
		t.Errorf("a second round removed %d", removed)
	}
	// The floor itself stays: below it something may be missing.
	if got := column[string](t, conn, `SELECT extract(day FROM now() - taken_at)::text
		FROM notifier.positions ORDER BY taken_at`); fmt.Sprint(got) != "[8 6 0]" {
		t.Errorf("positions of %v days ago are left", got)
	}
}

func TestRetainOnce_FloorWithNothingInProgress(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, Retention: time.Hour})
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('old')`)
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position)
		SELECT now() - interval '2 hours', format('%1$s:%1$s:', txid::text::bigint + 1)::pg_snapshot FROM notifier.events`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('new')`)
	if removed := retain(t, d); removed != 1 || keysLeft(t, conn) != "[new]" {
		t.Errorf("removed %d, left are %s", removed, keysLeft(t, conn))
	}
}

func TestRetainOnce_NothingIsOldYet(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ('a', '-infinity')`)
	exec(t, conn, `INSERT INTO notifier.idempotency_keys (key, created_at) VALUES
		('yesterday', now() - interval '23 hours'), ('before', now() - interval '25 hours')`)
	for range 3 {
		if removed := retain(t, d); removed != 0 {
			t.Errorf("removed %d", removed)
		}
	}
	if n := scalar[int](t, conn, `SELECT count(*) FROM notifier.positions WHERE isfinite(taken_at)`); n != 1 {
		t.Errorf("%d positions in one minute", n)
	}
	// The keys have a lifetime of their own.
	if got := fmt.Sprint(column[string](t, conn, `SELECT key FROM notifier.idempotency_keys`)); got != "[yesterday]" {
		t.Errorf("keys left are %s", got)
	}
}

// Instances don't agree on who does it: all do, and share the work.
func TestRetainOnce_InstancesAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (key) SELECT 'bulk' FROM generate_series(1, 21000)`)
	for range 300 {
		exec(t, conn, `INSERT INTO notifier.events (key) SELECT 'small' FROM generate_series(1, 5)`)
	}
	backdate(t, conn, `8 days`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('new')`)
	var removed atomic.Int64
	var instances sync.WaitGroup
	for range 3 {
		d := open(t, db.Config{URL: url})
		instances.Go(func() { // ends when a round finds nothing
			for count := int64(1); count > 0; removed.Add(count) {
				var err error
				if count, err = d.RetainOnce(t.Context()); err != nil {
					t.Errorf("retain: %v", err)
					return
				}
			}
		})
	}
	instances.Wait()
	if left := keysLeft(t, conn); removed.Load() != 22500 || left != "[new]" {
		t.Errorf("removed %d, left are %.99s", removed.Load(), left)
	}
}

func TestRetain_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Retain(ctx) }() // ends when the context does, below
	dbtest.Eventually(t, "a position is recorded", func() bool {
		return scalar[bool](t, conn, `SELECT EXISTS (SELECT FROM notifier.positions)`)
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("retain ended with %v", err)
	}
}

// A clock that was ahead for a while must not stop retention until it is there
// again.
func TestRetainOnce_PositionsOfTheFuture(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position) VALUES (now() + interval '1 year', pg_current_snapshot())`)
	retain(t, open(t, db.Config{URL: url}))
	if got := scalar[string](t, conn, `SELECT string_agg((taken_at > now())::text, ' ') FROM notifier.positions WHERE isfinite(taken_at)`); got != "false" {
		t.Errorf("positions that are ahead: %s", got)
	}
}
