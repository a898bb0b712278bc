package migrations_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
)

// A migration that changes the table of events waits for a transaction that has written
// to it, which it names, and writers must not wait behind the two.
func TestUp_WritersDoNotWaitBehindIt(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	if err := migrations.DownTo(t.Context(), url, 5, discard); err != nil { // the next puts a trigger on the table
		t.Fatal(err)
	}
	const insert = `INSERT INTO notifier.events (type) VALUES ('written meanwhile')`
	holder, writer, observer := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	if _, err := holder.Exec(t.Context(), `SET application_name = 'an_editor'; BEGIN; `+insert); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	said, logger := logged()
	go func() { done <- migrations.Up(t.Context(), url, logger) }() // ends when the holder has
	dbtest.Eventually(t, "the migration waits", func() bool {
		return scalar[bool](t, observer, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'notifier.events'::regclass)`)
	})
	written := make(chan error, 1)
	go func() { // ends at the latest with its connection
		_, err := writer.Exec(t.Context(), insert)
		written <- err
	}()
	dbtest.Eventually(t, "a writer commits while the other transaction is open", func() bool {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			return true
		case err := <-done:
			t.Fatalf("the migration has not waited: %v", err)
		default:
		}
		return false
	})
	name := fmt.Sprintf(`in_use_by="pid %d, role notifier, application an_editor, for `, holder.PgConn().PID())
	dbtest.Eventually(t, "the log names the transaction, with "+name, func() bool { return strings.Contains(said(), name) })
	if _, err := holder.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, m := range status(t, url) {
		if !m.Applied() {
			t.Errorf("%s is not applied", m.Name)
		}
	}
}

// logged returns a logger, and what it has written so far.
func logged() (said func() string, logger *slog.Logger) {
	var mu sync.Mutex
	var text strings.Builder
	write := func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}
	said = func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
	return said, slog.New(slog.NewTextHandler(writeFunc(write), nil))
}

type writeFunc func(p []byte) (int, error)

func (w writeFunc) Write(p []byte) (int, error) { return w(p) }

// A vacuum of a table with as many rows as there may be takes hours. One that Postgres has begun by itself it ends for
// who waits, but only after deadlock_timeout: who gives up before waits for all of the vacuum.
func TestUp_DoesNotWaitForAutovacuum(t *testing.T) {
	t.Parallel()
	c := dbtest.NewCluster(t, dbtest.Settings(map[string]string{"autovacuum_naptime": "1s"}))
	url := c.URL("")
	if err := migrations.DownTo(t.Context(), url, 5, discard); err != nil { // the next puts a trigger on the table
		t.Fatal(err)
	}
	conn := dbtest.Connect(t, url)
	exec(t, conn,
		`ALTER TABLE notifier.events SET (autovacuum_vacuum_insert_threshold = 0, autovacuum_vacuum_insert_scale_factor = 0,
			autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`, // some tenths of a second for a page
		`INSERT INTO notifier.events (type, payload)
			SELECT 't', json_build_object('much', repeat('x', 1000)) FROM generate_series(1, 5000)`)
	dbtest.Eventually(t, "a vacuum is at work", func() bool {
		return scalar[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'notifier.events'::regclass)`)
	})
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), url, discard) }() // ends when the vacuum has, or is ended
	dbtest.Eventually(t, "the schema is brought up", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return true
		default:
			return false
		}
	})
}

// A migration that has one table and waits for another, whose holder comes for the first, is ended by Postgres: then it is
// rolled back, and tried again.
func TestUp_OutlivesADeadlock(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	if err := migrations.DownTo(t.Context(), url, 2, discard); err != nil { // the next has triggers on permissions, then on users
		t.Fatal(err)
	}
	holder, observer := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, holder, `SET deadlock_timeout = '1h'`, // or it may be the one that is ended
		`BEGIN; INSERT INTO notifier.users (user_id) VALUES ('ann')`)
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), url, discard) }() // ends when the holder has
	waits := fmt.Sprintf(`SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'notifier.users'::regclass
		AND %d = ANY (pg_blocking_pids(pid)))`, holder.PgConn().PID())
	dbtest.Eventually(t, "the migration waits", func() bool { return scalar[bool](t, observer, waits) })
	exec(t, holder, `INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('ann', 'd')`, `COMMIT`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
