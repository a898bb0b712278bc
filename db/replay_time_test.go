package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// replayAny returns the keys of what is replayed for some filters until a point.
func replayAny(t *testing.T, d *db.DB, until notifier.Point, filters ...notifier.Filter) (keys []string) {
	t.Helper()
	err := d.Replay(t.Context(), filters, until, func(page []*notifier.Event) error {
		if len(page) == 0 || len(page) > db.PageRows {
			t.Errorf("a page of %d events", len(page))
		}
		for _, e := range page {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	return keys
}

func TestReplayByTime_AnyFilter(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	exec(t, conn, `INSERT INTO notifier.events (key, type, action, recipient, created_at, control) VALUES
		('3', 'a', 'x', NULL, '2026-01-01 00:00:01', NULL),
		('2', 'b', 'x', 'me', '2026-01-01', NULL),
		('4', 'a', 'y', 'you', '2026-01-01 00:00:01', NULL),
		('never', 'a', 'x', NULL, '2026-01-01', 'drop_user'),
		('1', NULL, NULL, NULL, '2025-12-31 23:59:59.999999', NULL),
		('5', 'b', 'x', NULL, 'infinity', NULL),
		('0', 'a', 'x', 'me', '-infinity', NULL)`)
	d := open(t, c)
	l := follow(t, d)
	late := dbtest.Connect(t, c.URL)
	joined := l.Point()
	exec(t, late, `INSERT INTO notifier.events (key, type, created_at) VALUES ('live', 'a', '2025-01-01')`)
	second := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type f = notifier.Filter
	for name, r := range map[string]struct {
		filters []f
		want    string
	}{
		"all":                              {[]f{{}}, "[0 1 2 3 4 5]"},
		"since a time, which is in":        {[]f{{Since: second}}, "[2 3 4 5]"},
		"after it":                         {[]f{{Since: second.Add(time.Microsecond)}}, "[3 4 5]"},
		"finer than is stored":             {[]f{{Since: second.Add(time.Nanosecond)}}, "[3 4 5]"},
		"beyond all time":                  {[]f{{Since: notifier.MaxTime.Add(time.Hour)}}, "[]"},
		"a type":                           {[]f{{Types: []string{"a"}}}, "[0 3 4]"},
		"what is null":                     {[]f{{Types: []string{""}}}, "[1]"},
		"an action":                        {[]f{{Actions: []string{"y"}}}, "[4]"},
		"keys":                             {[]f{{Keys: []string{"2", "5", "6"}}}, "[2 5]"},
		"a type and a key":                 {[]f{{Types: []string{"a"}, Keys: []string{"2", "3"}}}, "[3]"},
		"two that overlap, each once":      {[]f{{Types: []string{"a"}}, {Actions: []string{"x"}, Types: []string{"a", "b"}}}, "[0 2 3 4 5]"},
		"two of different times":           {[]f{{Types: []string{"a"}, Since: second}, {Types: []string{"b"}, Since: notifier.MaxTime}}, "[3 4 5]"},
		"for one or for nobody":            {[]f{{Recipient: new("me"), OrNobody: true}}, "[0 1 2 3 5]"},
		"for one, and what is for another": {[]f{{Recipient: new("me")}, {Recipient: new("you")}}, "[0 2 4]"},
		"for one, of two types":            {[]f{{Recipient: new("me"), Types: []string{"a"}}, {Recipient: new("me"), Types: []string{"b"}}}, "[0 2]"},
		"nothing":                          {nil, "[]"},
	} {
		if got := fmt.Sprint(replayAny(t, d, joined, r.filters...)); got != r.want {
			t.Errorf("%s: replayed %s, want %s", name, got, r.want)
		}
	}
}

// More than is listed at once, most of it at one time, and some of it removed while
// the client takes its time: the others come all the same, once each.
func TestReplayByTime_Pages(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), MaxPayload: 500_000}
	conn := dbtest.Connect(t, c.URL)
	const rows, later = db.Listed + 2500, 8
	exec(t, conn, `INSERT INTO notifier.events (key, created_at, payload)
		SELECT i::text, timestamptz '2026-01-01' + interval '1 second' * (i / 50000), CASE WHEN i % 1000 = 0 THEN to_json(repeat('x', 300000)) END
		FROM generate_series(1, $1::int) AS i`, rows)
	d := open(t, c)
	l := follow(t, d)
	for i := range later { // so that the first list ends with the first minutes, and is too long all the same
		minutePasses(t, conn, d)
		exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ($1, timestamptz '2026-02-01' + interval '1 minute' * $2::int)`,
			fmt.Sprint(rows+i+1), i)
	}
	l.waitFor(t, later)
	next, size := 1, 0
	err := d.Replay(t.Context(), []notifier.Filter{{}}, l.Point(), func(page []*notifier.Event) error {
		for _, e := range page {
			if next == 1500 {
				next = 2001 // they are gone
			}
			if e.Key != fmt.Sprint(next) {
				t.Fatalf("event %d has the key %s", next, e.Key)
			}
			next++
			size += len(e.Payload)
		}
		if page[0].Key == "1" {
			exec(t, conn, `DELETE FROM notifier.events WHERE key::int BETWEEN 1500 AND 2000`)
		}
		if len(page) > db.PageRows {
			t.Errorf("a page of %d events", len(page))
		}
		return nil
	})
	if err != nil || next != rows+later+1 || size != (rows/1000-1)*300_002 {
		t.Errorf("the replay ended before event %d, with %d bytes: %v", next, size, err)
	}
}

func TestReplayByTime_EndsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (key) SELECT i::text FROM generate_series(1, 5000) AS i`)
	d := open(t, c)
	l := follow(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	pages := 0
	err := d.Replay(ctx, []notifier.Filter{{}}, l.Point(), func([]*notifier.Event) error {
		pages++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || pages != 1 {
		t.Errorf("after its context had ended: %d pages, %v", pages, err)
	}
}

// The newest among very many: no more of the log is looked through than what came
// since the last position before, and the rows are read by their ids.
func TestTortureReplayByTime_NewestAmongMany(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	const parts, due = 10, 1000
	rows := scaled(200_000, 1_000_000)
	exec(t, conn, `SET notifier.doorbell = off`)
	others := []*pgx.Conn{dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)} // in progress as the last position before what is due is recorded
	for part := range parts {
		for _, other := range others {
			exec(t, other, map[int]string{parts - 2: `BEGIN; SELECT pg_current_xact_id()`, parts - 1: `ROLLBACK`}[part])
		}
		exec(t, conn, `INSERT INTO notifier.events (key, type, created_at)
			SELECT i::text, 't' || i % 10, timestamptz '2026-01-01' + interval '1 second' * i
			FROM generate_series($1::int, $2::int) AS i`, part*rows/parts+1, (part+1)*rows/parts)
		minutePasses(t, conn, d)
	}
	since := scalar[time.Time](t, conn, `SELECT created_at FROM notifier.events WHERE key = $1`, fmt.Sprint(rows-due+1))
	from := scalar[string](t, conn, `SELECT position::text FROM notifier.positions WHERE latest < $1 ORDER BY taken_at DESC LIMIT 1`, since)
	reader := dbtest.Connect(t, c.URL)
	l.waitFor(t, rows)
	for _, state := range []string{"unanalysed", "analysed"} {
		got := replayAny(t, d, l.Point(), notifier.Filter{Since: since})
		if len(got) != due || !slices.Contains(got, fmt.Sprint(rows)) {
			t.Errorf("%s: %d events were replayed", state, len(got))
		}
		first, past, _ := db.Whereabouts(t, d, since, l.Point().To)
		if p, err := notifier.ParsePosition(from); err != nil || len(first) == 0 || first[len(first)-1] < p.Xmax() { // before that, only what the log began with
			t.Errorf("it is looked for from %v on, %s is enough: %v", first, from, err)
		}
		exec(t, reader, `BEGIN`)
		exec(t, reader, db.PooledPlan)
		for _, types := range []string{"NULL", "'{t1,t2}'"} {
			plan := explain(t, reader, db.ListSince, list(first), list(past), quote(since.Format(time.RFC3339Nano)), "0", types, "NULL", "NULL", fmt.Sprint(db.Listed), "NULL")
			plan.wantLooked(t, "events_txid", rows/parts)
		}
		plan := explain(t, reader, db.ReplayIDs, fmt.Sprint(1<<20), fmt.Sprint(db.PageBytes), fmt.Sprintf("'{%d,%d}'", rows-1, rows))
		plan.wantScan(t, "events_pkey", 2, 60)
		exec(t, reader, `ROLLBACK`)
		exec(t, conn, `ANALYZE notifier.events`)
	}
}

// minutePasses has the next position recorded.
func minutePasses(t *testing.T, conn *pgx.Conn, d *db.DB) {
	t.Helper()
	exec(t, conn, `UPDATE notifier.positions SET taken_at = taken_at - interval '1 minute'`)
	if _, err := d.RetainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// list is an array as SQL.
func list(ids []uint64) string {
	return "'{" + strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]") + "}'"
}

// wantLooked checks that the events are found by an index, and how many rows are
// looked at.
func (n *planNode) wantLooked(t *testing.T, index string, rows int) {
	t.Helper()
	scans := n.scans()
	if len(scans) != 1 || !strings.HasPrefix(scans[0].Type, "Index") || scans[0].Index != index {
		t.Fatalf("the events are found by %+v, want only the index %s", scans, index)
	}
	// Up to Postgres 17, both are told per loop, rounded: 200 and 19,800 in 3 loops as 67 and 6600.
	s := scans[0]
	if looked := (s.Rows + s.Removed) * s.Loops; looked == 0 || looked > float64(rows)+s.Loops {
		t.Errorf("%v rows are looked at, want no more than %d", looked, rows)
	}
}

// Whatever times events carry, whenever they are committed and a position is
// recorded, a replay finds all that is of its time.
func TestReplayByTime_FindsWhatPositionsRuleOut(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn, late := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	insert := func(conn *pgx.Conn, day int, key string) {
		t.Helper()
		exec(t, conn, `INSERT INTO notifier.events (key, created_at) VALUES ($1, timestamptz '2026-01-01' + interval '1 day' * $2::int)`, key, day)
	}
	insert(conn, 1, "old")
	minutePasses(t, conn, d)
	exec(t, late, `BEGIN`)
	insert(late, 12, "begun before")
	insert(conn, 20, "ahead of its time")
	minutePasses(t, conn, d)
	insert(conn, 2, "old, too")
	minutePasses(t, conn, d)
	minutePasses(t, conn, d)
	exec(t, late, `COMMIT`)
	minutePasses(t, conn, d)
	insert(conn, 3, "old again")
	minutePasses(t, conn, d)
	insert(conn, 11, "since the last")
	l.waitFor(t, 6)
	since := notifier.Filter{Since: time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)}
	const want = "[since the last begun before ahead of its time]"
	if got := fmt.Sprint(replayAny(t, d, l.Point(), since)); got != want {
		t.Errorf("replayed %s, want %s", got, want)
	}
	ruledOut := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.positions WHERE latest < '2026-01-11'`)
	if ruledOut != 4 {
		t.Errorf("%d positions rule out what came before them, want 4", ruledOut)
	}
	exec(t, conn, `UPDATE notifier.positions SET latest = NULL`)
	if got := fmt.Sprint(replayAny(t, d, l.Point(), since)); got != want {
		t.Errorf("with nothing known: replayed %s, want %s", got, want)
	}
}
