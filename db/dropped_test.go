package db_test

import (
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
)

func TestRetainOnce_CountsOnWhatWasDropped(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, Retention: 7 * 24 * time.Hour})
	note := func(ago string, count int) {
		t.Helper()
		exec(t, conn, `INSERT INTO notifier.dropped (dropped_at, message, count) VALUES (now() - $1::text::interval, $1, $2)`, ago, count)
	}
	expect := func(what, rows string, count int64) {
		t.Helper()
		got := scalar[string](t, conn, `SELECT coalesce(string_agg(count || CASE dropped_at WHEN '-infinity' THEN ' removed' ELSE '' END, ', ' ORDER BY dropped_at), '')
			FROM notifier.dropped`)
		if got != rows {
			t.Errorf("%s: there is %s, want %s", what, got, rows)
		}
		if n, err := d.Dropped(t.Context()); err != nil || n != count {
			t.Errorf("%s: %d were dropped, want %d (%v)", what, n, count, err)
		}
	}
	expect("at first", "", 0)
	retain(t, d)
	expect("without any", "", 0)
	note("8 days", 1)
	note("6 days", 20)
	retain(t, d)
	expect("one was old", "1 removed, 20", 21)
	id := scalar[int64](t, conn, `SELECT min(id) FROM notifier.dropped`)
	note("9 days", 300)
	note("9 days", 4000)
	retain(t, d)
	expect("two more", "4301 removed, 20", 4321)
	retain(t, d)
	expect("nothing new", "4301 removed, 20", 4321)
	if got := scalar[int64](t, conn, `SELECT min(id) FROM notifier.dropped`); got != id {
		t.Error("the note that is young enough was replaced")
	}
	exec(t, conn, `INSERT INTO notifier.dropped (message) SELECT 'all the time' FROM generate_series(1, 12000)`)
	retain(t, d)
	if n := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.dropped`); n != 10_001 {
		t.Errorf("%d notes are kept", n)
	}
	if n, err := d.Dropped(t.Context()); err != nil || n != 16321 {
		t.Errorf("%d were dropped (%v)", n, err)
	}
}
