package db_test

import (
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// What everybody's events wait for does not wait for clients who have the whole
// pool busy.
func TestAsk_NotBehindClients(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, gate := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, `CREATE OR REPLACE FUNCTION notifier.dataset_of(type text, key text) RETURNS text
		LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$`)
	exec(t, conn, `INSERT INTO notifier.users (user_id) VALUES ('u')`)
	exec(t, gate, `SELECT pg_advisory_lock(7)`)
	d := open(t, db.Config{URL: url, MaxConns: 1})
	admitted := make(chan error, 1)
	go func() { // ends when the gate opens
		_, err := d.Admit(t.Context(), "u", "type", "key")
		admitted <- err
	}()
	dbtest.Eventually(t, "the policy stalls", func() bool {
		return scalar[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`)
	})
	questions := []notifier.Question{{User: "u", Type: "type"}}
	if answers, _, err := d.Ask(t.Context(), questions); err != nil || len(answers) != 1 || !answers[0] {
		t.Errorf("asking: %v, %v", answers, err)
	}
	since := present(t, conn)
	if _, err := d.AccessChanges(t.Context(), since); err != nil {
		t.Errorf("looking for changes: %v", err)
	}
	if _, _, err := d.AccountGenerations(t.Context(), []string{"u"}); err != nil {
		t.Errorf("looking at accounts: %v", err)
	}
	exec(t, gate, `SELECT pg_advisory_unlock(7)`)
	if err := <-admitted; err != nil {
		t.Error(err)
	}
}
