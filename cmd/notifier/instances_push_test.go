package main

import (
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
)

// The worst moment to be stopped at: a push has been written, with its key, and not
// committed. Who repeats it at another instance, as it should, must not wait for the
// one that is stopped.
func TestServe_StoppedInAPushItDoesNotHoldOthersUp(t *testing.T) {
	t.Parallel()
	const list = `[{"accessid":"ann","created_at":1,"payload":"once"}]`
	database := dbtest.New(t)
	a, url := serving(t, database)
	_, other := serving(t, database)
	conn, holder := dbtest.Connect(t, database), dbtest.Connect(t, database)
	if status := pushOnce(t.Context(), url, "", "before", list); status != 200 {
		t.Fatalf("status %d", status)
	}
	// A stranger's transaction with the same key keeps the push from going on, until
	// the instance is stopped; what the push does then, it does without it.
	if _, err := holder.Exec(t.Context(), `BEGIN;
		INSERT INTO notifier.idempotency_keys (principal, key)
		SELECT principal, 'list the key' FROM notifier.idempotency_keys`); err != nil {
		t.Fatal(err)
	}
	first := make(chan int, 1)
	go func() { first <- pushOnce(t.Context(), url, "", "the key", list) }() // ends with the test
	is := func(what, sql string) {
		t.Helper()
		dbtest.Eventually(t, what, func() bool {
			var n int
			err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND query LIKE '-- name: publish%' AND `+sql).Scan(&n)
			return err == nil && n == 1
		})
	}
	is("the push waits", `wait_event_type = 'Lock'`)
	a.halt()
	if _, err := holder.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	is("the push is written", `state = 'idle in transaction'`)
	if status := pushOnce(t.Context(), other, "", "the key", list); status != 200 {
		t.Errorf("repeated at another instance: status %d", status)
	}
	a.signal(syscall.SIGCONT)
	if status := <-first; status != 503 {
		t.Errorf("the push that was not committed: status %d", status)
	}
	if status := pushOnce(t.Context(), url, "", "the key", list); status != 200 {
		t.Errorf("repeated at the same instance: status %d", status)
	}
	var stored int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM notifier.events WHERE control IS NULL`).Scan(&stored); err != nil || stored != 2 {
		t.Errorf("%d events are stored, %v", stored, err)
	}
}
