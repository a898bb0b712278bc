package db_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// The oldest among very many: a replay that begins far back does not look through
// all that came since for its first page.
func TestTortureReplayByTime_OldestAmongMany(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	const parts = 40
	rows := scaled(40_000, 1_000_000)
	exec(t, conn, `SET notifier.doorbell = off`)
	for part := range parts {
		exec(t, conn, `INSERT INTO notifier.events (key, type, created_at)
			SELECT i::text, 't' || i % 10, timestamptz '2026-01-01' + interval '1 second' * i
			FROM generate_series($1::int, $2::int) AS i`, part*rows/parts+1, (part+1)*rows/parts)
		minutePasses(t, conn, d)
	}
	l.waitFor(t, rows)
	reader := dbtest.Connect(t, c.URL)
	for name, wanted := range map[string]struct {
		since time.Time
		parts int // that the first list looks through
	}{
		"the beginning": {notifier.MinTime, 5}, // besides, whatever the first position has before it
		"in the midst":  {scalar[time.Time](t, conn, `SELECT created_at FROM notifier.events WHERE key = $1`, fmt.Sprint(rows/2+1)), 6},
		"near the end":  {scalar[time.Time](t, conn, `SELECT created_at FROM notifier.events WHERE key = $1`, fmt.Sprint(rows-rows/parts+1)), 1},
	} {
		first, past, before := db.Whereabouts(t, d, wanted.since, l.Point().To)
		end := "NULL"
		if before != nil {
			end = quote(before.Format(time.RFC3339Nano))
		}
		since := quote(wanted.since.Format(time.RFC3339Nano))
		if wanted.since.Equal(notifier.MinTime) {
			since = "'-infinity'"
		}
		exec(t, reader, `BEGIN`)
		exec(t, reader, db.PooledPlan)
		for _, types := range []string{"NULL", "'{t1}'"} {
			t.Log(name, types)
			plan := explain(t, reader, db.ListSince, list(first), list(past), since, "0", types, "NULL", "NULL", fmt.Sprint(db.Listed), end)
			plan.wantLooked(t, "events_txid", wanted.parts*rows/parts)
		}
		exec(t, reader, `ROLLBACK`)
	}
	for _, f := range []notifier.Filter{{}, {Types: []string{"t7"}}} {
		var want []string
		for i := 1; i <= rows; i++ {
			if len(f.Types) == 0 || i%10 == 7 {
				want = append(want, fmt.Sprint(i))
			}
		}
		if got := replayAny(t, d, l.Point(), f); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: replayed %d events, want %d, or in another order", f.Types, len(got), len(want))
		}
	}
}

// Events that carry any times, in transactions that end whenever they do: list after
// list, each comes once, in order.
func TestReplayByTime_AnyTimesInAnyMinute(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn, late := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	const minutes, ofMinute = 60, 3
	rows := 0
	times := make([]string, 0, minutes*ofMinute)
	for minute := range minutes {
		for range ofMinute {
			created := fmt.Sprintf("2026-01-01 00:%02d:00Z", minute)
			switch random.IntN(12) {
			case 0:
				created = []string{"-infinity", "infinity", "1970-01-01 00:00:10Z"}[random.IntN(3)]
			case 1:
				created = fmt.Sprintf("2026-01-01 00:%02d:00Z", random.IntN(minutes))
			}
			times = append(times, created)
		}
		writer := conn
		switch minute % 10 {
		case 3:
			exec(t, late, `BEGIN`)
			writer = late
		case 7:
			exec(t, late, `COMMIT`)
		}
		exec(t, writer, `INSERT INTO notifier.events (key, created_at)
			SELECT '', at FROM unnest($1::text[]::timestamptz[]) AS at`, times[len(times)-ofMinute:])
		rows += ofMinute
		minutePasses(t, conn, d)
	}
	exec(t, conn, `UPDATE notifier.events SET key = id::text`)
	exec(t, conn, `UPDATE notifier.positions SET earliest = NULL, latest = NULL WHERE random() < 0.05`)
	l.waitFor(t, rows)
	for _, since := range append([]string{"-infinity", "infinity"}, times...) {
		f := notifier.Filter{Since: scalar[time.Time](t, conn, `SELECT CASE $1::timestamptz
			WHEN '-infinity' THEN timestamptz '0001-01-01 00:00:00Z' WHEN 'infinity' THEN '9999-01-01' ELSE $1::timestamptz END`, since)}
		want := fmt.Sprint(column[string](t, conn, `SELECT key FROM notifier.events WHERE created_at >= $1 ORDER BY created_at, id`, f.Since))
		if f.Since.IsZero() {
			want = fmt.Sprint(column[string](t, conn, `SELECT key FROM notifier.events ORDER BY created_at, id`))
		}
		if got := fmt.Sprint(replayAny(t, d, l.Point(), f)); got != want {
			t.Errorf("since %s: replayed %s, want %s", since, got, want)
		}
	}
}

// An instance that was slow has recorded its position after another's later one, and a
// third, as slow, one that counts from that: what lies between the first two is found.
func TestReplayByTime_PositionsOfSlowInstances(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	insert := func(key, created string) (position string) {
		t.Helper()
		exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ($1, $2)`, key, created)
		return scalar[string](t, conn, `SELECT pg_current_snapshot()::text`)
	}
	minutePasses(t, conn, d)
	slow := insert("a", "2026-01-01 12:00Z")
	quick := insert("b", "2026-01-01 12:00Z")
	third := insert("c", "2026-01-01 11:00Z")
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position, earliest, latest) VALUES
		(now() + '1 minute', $1::text::pg_snapshot, '2026-01-01 12:00Z', '2026-01-01 12:00Z'),
		(now() + '2 minutes', $2::text::pg_snapshot, '2026-01-01 12:00Z', '2026-01-01 12:00Z'),
		(now() + '3 minutes', $3::text::pg_snapshot, '2026-01-01 11:00Z', '2026-01-01 11:00Z')`, quick, slow, third)
	l.waitFor(t, 3)
	since := time.Date(2026, 1, 1, 11, 30, 0, 0, time.UTC)
	if got := fmt.Sprint(replayAny(t, d, l.Point(), notifier.Filter{Since: since})); got != "[a b]" {
		t.Errorf("replayed %s, want a and b", got)
	}
}
