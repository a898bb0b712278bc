package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// latest returns the keys of the newest events, page by page, until there are
// enough.
func latest(t *testing.T, d *db.DB, f notifier.Filter, until notifier.Point, enough int) (pages [][]string) {
	t.Helper()
	err := d.Latest(t.Context(), f, until, func(events []*notifier.Event) (bool, error) {
		var keys []string
		for _, e := range events {
			keys = append(keys, e.Key)
		}
		pages = append(pages, keys)
		enough -= len(keys)
		return enough <= 0, nil
	})
	if err != nil {
		t.Fatalf("latest: %v", err)
	}
	return pages
}

// The newest is the one with the highest id, whatever time it carries; control
// rows and other people's events are not in it, and what the point does not cover
// comes live.
func TestLatest_IsTheNewestCovered(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	c := db.Config{URL: asServer(url)}
	conn, late := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (type, key, recipient, created_at, control) VALUES
		('system-state', '1', NULL, '2026-01-01', NULL),
		('system-state', '2', 'me', 'infinity', NULL),
		('other', '3', NULL, '2026-01-01', NULL),
		('system-state', '4', 'you', '2026-01-01', NULL)`)
	exec(t, late, `BEGIN`)
	exec(t, late, `INSERT INTO notifier.events (type, key) VALUES ('system-state', 'late'), ('other', 'late')`)
	exec(t, conn, `INSERT INTO notifier.events (type, key, recipient, created_at, control) VALUES
		('system-state', '5', NULL, '-infinity', NULL),
		('system-state', '6', 'you', '2026-01-01', NULL),
		('system-state', 'never', NULL, '2026-01-01', 'drop_user')`)
	d := open(t, c)
	l := follow(t, d)
	point := l.Point()
	exec(t, late, `COMMIT`)
	exec(t, conn, `INSERT INTO notifier.events (type, key) VALUES ('system-state', 'new'), ('other', 'new')`)
	l.waitFor(t, 4)
	me := func(f notifier.Filter) notifier.Filter { f.Recipient, f.OrNobody = new("me"), true; return f }
	state, other := notifier.Filter{Types: []string{"system-state"}}, notifier.Filter{Types: []string{"other"}}
	for name, c := range map[string]struct {
		filter notifier.Filter
		until  notifier.Point
		enough int
		want   string
	}{
		"then":              {state, point, 1, "[[6 5 4 2 1]]"},
		"then, for one":     {me(state), point, 1, "[[5 2 1]]"},
		"now":               {state, l.Point(), 1, "[[new]]"},
		"now, all":          {state, l.Point(), 100, "[[new] [6 5 late 4 2 1]]"},
		"now, all, for one": {me(state), l.Point(), 100, "[[new] [5 late 2 1]]"},
		"no index, then":    {other, point, 1, "[[3]]"},
		"no index, now":     {me(other), l.Point(), 100, "[[new] [late 3]]"},
		"never heard of":    {notifier.Filter{Types: []string{"none"}}, l.Point(), 1, "[]"},
		"addressed to one":  {notifier.Filter{Types: []string{"system-state"}, Recipient: new("you")}, l.Point(), 100, "[[6 4]]"},
	} {
		if got := fmt.Sprint(latest(t, d, c.filter, c.until, c.enough)); got != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}

// Who may read none of the many newest does not have all the others looked at;
// and a page is bounded in bytes too.
func TestLatest_LooksBackSoFar(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (type, key, payload)
		SELECT 'life-preserver', i::text, CASE WHEN i > 1950 THEN to_json(repeat('x', 300000)) END FROM generate_series(1, 2000) AS i`)
	d := open(t, c)
	pages := latest(t, d, notifier.Filter{Types: []string{"life-preserver"}}, follow(t, d).Point(), 1<<30)
	var sizes []int
	for _, p := range pages {
		sizes = append(sizes, len(p))
	}
	if fmt.Sprint(sizes) != "[1 4 4 4]" || pages[0][0] != "2000" || pages[3][3] != "1988" {
		t.Errorf("pages of %v events", sizes)
	}
	exec(t, dbtest.Connect(t, c.URL), `UPDATE notifier.events SET payload = NULL`)
	sizes = nil
	for _, p := range latest(t, d, notifier.Filter{Types: []string{"life-preserver"}}, notifier.Point{From: present(t, dbtest.Connect(t, c.URL))}, 1<<30) {
		sizes = append(sizes, len(p))
	}
	if fmt.Sprint(sizes) != "[1 10 100 1000]" {
		t.Errorf("pages of %v events", sizes)
	}
}

// Of a type that no index is for, the end of the log is looked through, however
// many are stored.
func TestLatest_WindowOfOtherTypes(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	exec(t, conn, `INSERT INTO notifier.events (type, key) VALUES ('disk', 'old'), ('system-state', 'old')`)
	exec(t, conn, `INSERT INTO notifier.events (type) SELECT 'x' FROM generate_series(1, 9998)`)
	d := open(t, c)
	l := follow(t, d)
	for _, step := range []struct{ kind, want string }{{"disk", "[[old]]"}, {"disk", "[]"}, {"system-state", "[[old]]"}} {
		if got := fmt.Sprint(latest(t, d, notifier.Filter{Types: []string{step.kind}}, l.Point(), 1)); got != step.want {
			t.Errorf("%s: %s, want %s", step.kind, got, step.want)
		}
		exec(t, conn, `INSERT INTO notifier.events (type) VALUES ('x')`)
	}
}

func TestLatest_EndsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (type) SELECT 'system-state' FROM generate_series(1, 50)`)
	d := open(t, c)
	until := follow(t, d).Point()
	f := notifier.Filter{Types: []string{"system-state"}}
	bored := errors.New("bored")
	err := d.Latest(t.Context(), f, until, func([]*notifier.Event) (bool, error) { return false, bored })
	if !errors.Is(err, bored) {
		t.Errorf("yield's error is returned as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = d.Latest(ctx, f, until, func([]*notifier.Event) (bool, error) { cancel(); return false, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after its context had ended: %v", err)
	}
	for _, types := range [][]string{nil, {"a", "b"}} {
		if d.Latest(t.Context(), notifier.Filter{Types: types}, until, nil) == nil {
			t.Errorf("the newest of %d types is taken on", len(types))
		}
	}
}

// Whatever the planner knows of the table, the newest of an indexed type costs a
// few blocks, and of another type no more than the window.
func TestTortureLatest_AmongMany(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `ALTER TABLE notifier.events SET (autovacuum_enabled = off)`)
	exec(t, conn, `SET notifier.doorbell = off`)
	rows := scaled(100_000, 10_000_000)
	exec(t, conn, `INSERT INTO notifier.events (type, recipient)
		SELECT CASE WHEN i IN (11, 1001) THEN 'system-state' ELSE 'type' || i % 50 END, CASE WHEN i % 2 = 0 THEN 'u' || i END
		FROM generate_series(1, $1::int) AS i`, rows)
	for _, state := range []string{"unanalysed", "analysed"} {
		reader := dbtest.Connect(t, url)
		exec(t, reader, `BEGIN`)
		exec(t, reader, db.LatestPlan)
		look := func(eventType, user, after string, limit int) planNode {
			t.Log(state, eventType, user)
			return explain(t, reader, db.LatestPage, fmt.Sprint(1<<20), fmt.Sprint(db.PageBytes), quote(eventType), user, "9223372036854775807", after, fmt.Sprint(limit))
		}
		for _, eventType := range []string{"system-state", "life-preserver"} {
			plan := look(eventType, "NULL", "'-9223372036854775808'", 1)
			plan.wantScan(t, "events_latest", 1, 20)
			plan = look(eventType, "'u10'", "'-9223372036854775808'", 1000)
			plan.wantScan(t, "events_latest", 2, 20)
		}
		for _, eventType := range []string{"type7", "none"} {
			plan := look(eventType, "'me'", "NULL", 1000)
			scans := plan.scans()
			for _, s := range scans {
				if s.Index != "events_pkey" || s.Rows+s.Removed > 10_000 {
					t.Errorf("%s, %s: %+v", state, eventType, s)
				}
			}
			if len(scans) == 0 || plan.Hit+plan.Read > 400 {
				t.Errorf("%s, %s: %d scans, %d blocks hit and %d read", state, eventType, len(scans), plan.Hit, plan.Read)
			}
		}
		exec(t, conn, `ANALYZE notifier.events`)
	}
}
