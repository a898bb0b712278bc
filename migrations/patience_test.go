package migrations_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
)

// A migration that changes the table of events waits for a transaction that has written
// to it, and writers must not wait behind the two.
func TestUp_WritersDoNotWaitBehindIt(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	if err := migrations.DownTo(t.Context(), url, 5, discard); err != nil { // the next puts a trigger on the table
		t.Fatal(err)
	}
	const insert = `INSERT INTO notifier.events (type) VALUES ('written meanwhile')`
	holder, writer, observer := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	if _, err := holder.Exec(t.Context(), `BEGIN; `+insert); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), url, discard) }() // ends when the holder has
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
