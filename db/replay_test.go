package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// replay returns the keys of what is replayed to a user until a point.
func replay(t *testing.T, d *db.DB, user string, since time.Time, until notifier.Point) []string {
	t.Helper()
	var keys []string
	err := d.Replay(t.Context(), []notifier.Filter{{Recipient: &user, Since: since}}, until, func(page []*notifier.Event) error {
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

func TestReplay_IsByTimeThenID(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient, created_at, control) VALUES
		('3', 'me', '2026-01-01 00:00:01', NULL),
		('2', 'me', '2026-01-01', NULL),
		('4', 'me', '2026-01-01 00:00:01', NULL),
		('never', 'you', '2026-01-01', NULL),
		('never', NULL, '2026-01-01', NULL),
		('never', 'me', '2026-01-01', 'drop_user'),
		('1', 'me', '2025-12-31 23:59:59.999999', NULL),
		('5', 'me', 'infinity', NULL),
		('0', 'me', '-infinity', NULL)`)
	d := open(t, c)
	l := follow(t, d)
	second := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, r := range map[string]struct {
		since time.Time
		want  string
	}{
		"all":                       {time.Time{}, "[0 1 2 3 4 5]"},
		"since a time, which is in": {second, "[2 3 4 5]"},
		"after it":                  {second.Add(time.Microsecond), "[3 4 5]"},
		"finer than is stored":      {second.Add(time.Nanosecond), "[3 4 5]"},
		"the last second":           {notifier.MaxTime, "[5]"},
		"beyond all time":           {notifier.MaxTime.Add(time.Hour), "[]"},
	} {
		if got := fmt.Sprint(replay(t, d, "me", r.since, l.Point())); got != r.want {
			t.Errorf("%s: replayed %s, want %s", name, got, r.want)
		}
	}
	if got := replay(t, d, "nobody", time.Time{}, l.Point()); got != nil {
		t.Errorf("nobody is replayed %s", got)
	}
}

// Pages are bounded in rows and in bytes, also where many events have one time.
func TestReplay_Pages(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), MaxPayload: 500_000}
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (key, recipient, created_at, payload)
		SELECT i::text, 'me', '2026-01-01', CASE WHEN i % 100 = 0 THEN to_json(repeat('x', 300000)) END
		FROM generate_series(1, 3500) AS i`)
	d := open(t, c)
	l := follow(t, d)
	next := 1
	err := d.Replay(t.Context(), []notifier.Filter{{Recipient: new("me")}}, l.Point(), func(page []*notifier.Event) error {
		size := 0
		for _, e := range page {
			if e.Key != fmt.Sprint(next) {
				t.Fatalf("event %d has the key %s", next, e.Key)
			}
			next++
			size += len(e.Payload)
		}
		if len(page) > db.PageRows || size > db.PageBytes+300_002 {
			t.Errorf("a page of %d events and %d bytes", len(page), size)
		}
		return nil
	})
	if err != nil || next != 3501 {
		t.Errorf("the replay ended before event %d: %v", next, err)
	}
}

func TestReplay_EndsWithItsCaller(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (recipient) SELECT 'me' FROM generate_series(1, 5000)`)
	d := open(t, c)
	l := follow(t, d)
	me := notifier.Filter{Recipient: new("me")}
	bored := errors.New("bored")
	if err := d.Replay(t.Context(), []notifier.Filter{me}, l.Point(), func([]*notifier.Event) error { return bored }); !errors.Is(err, bored) {
		t.Errorf("yield's error is returned as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pages := 0
	err := d.Replay(ctx, []notifier.Filter{me}, l.Point(), func([]*notifier.Event) error {
		pages++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || pages != 1 {
		t.Errorf("after its context had ended: %d pages, %v", pages, err)
	}
}

// subscribe joins the hub as one user.
func subscribe(l *log, user string) (*inbox, notifier.Point) {
	box := &inbox{}
	s := notifier.NewSubscriber(user, tally{}, box)
	l.Join(s)
	_, point, _ := l.Subscribe(s, notifier.Viewer{User: user}, notifier.Filter{Recipient: &user}, notifier.Permit{}) // it has just joined
	return box, point
}

// Who commits while a replay is under way comes live, however old its events say
// they are, and only live.
func TestReplay_LateCommitters(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		conn, late := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
		exec(t, late, `BEGIN`)
		const insert = `INSERT INTO notifier.events (key, recipient, created_at, principal)
			SELECT $1, 'me', timestamptz '2026-01-01' + interval '1 second' * i, $2::int || '/' || i FROM generate_series($3::int, $4::int) AS i`
		exec(t, late, insert, "late", 1, -10, 3000) // from before all to after all
		exec(t, conn, insert, "stored", 0, 1, 2500)
		d := open(t, c)
		l := follow(t, d)
		box, point := subscribe(l, "me")
		page := 0
		var replayed []string
		err := d.Replay(t.Context(), []notifier.Filter{{Recipient: new("me")}}, point, func(events []*notifier.Event) error {
			if page++; page == 1 { // the replay waits while this happens
				exec(t, late, `COMMIT`)
				exec(t, conn, insert, "new", 2, 2000, 2100)
				l.waitFor(t, 3011+101)
			}
			for _, e := range events {
				replayed = append(replayed, e.Key)
			}
			return nil
		})
		if n := len(slices.DeleteFunc(replayed, func(key string) bool { return key != "stored" })); err != nil || n != 2500 || len(replayed) != n {
			t.Errorf("replayed were %d events, %d of them stored before: %v", len(replayed), n, err)
		}
		count := map[token]int{}
		dbtest.Eventually(t, "all live events are queued", func() bool { return box.len() >= 3011+101 })
		for _, d := range box.all() {
			count[d.token]++
		}
		for n := int32(-10); n <= 3000; n++ {
			if got := count[token{1, n}]; got != 1 {
				t.Errorf("the late committer's event %d came %d times", n, got)
			}
		}
		if box.len() != 3011+101 {
			t.Errorf("%d events came live", box.len())
		}
	})
}

// A subscriber joins in the middle of a batch: what the hub has passed of it is
// replayed, the rest comes live.
func TestReplay_InsideABatch(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		conn := dbtest.Connect(t, c.URL)
		d := open(t, c)
		g := newGated(t)
		feed(t, d, g)
		dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
		exec(t, conn, `INSERT INTO notifier.events (key, recipient, principal, created_at)
			SELECT i::text, 'me', '0/' || i, now() - interval '1 second' * (i * 7 % 4500) FROM generate_series(1, 4500) AS i`)
		var boxes []*inbox
		var points []notifier.Point
		for last := false; !last; {
			last = g.await(t).Last
			box, point := subscribe(g.log, "me")
			boxes, points = append(boxes, box), append(points, point)
			g.proceed <- struct{}{}
		}
		g.open()
		g.waitFor(t, 4500)
		for i, box := range boxes {
			count := map[string]int{}
			for _, key := range replay(t, d, "me", time.Time{}, points[i]) {
				count[key]++
			}
			for _, d := range box.all() {
				count[fmt.Sprint(d.token.n)]++
			}
			if wrong := 4500 - len(count); wrong != 0 || box.len()+len(replay(t, d, "me", time.Time{}, points[i])) != 4500 {
				t.Errorf("the subscriber who came at page %d misses %d events; %d came live", i, wrong, box.len())
			}
		}
		if len(boxes) < 5 {
			t.Errorf("%d subscribers", len(boxes))
		}
	})
}

// A subscriber's own among very many: its index leads there, and no other row is
// touched.
func TestTortureReplay_OwnAmongMany(t *testing.T) {
	t.Parallel()
	const own = 1000
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	exec(t, conn, `SET notifier.doorbell = off`)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient, created_at)
		SELECT i::text, 'user' || i % 100, timestamptz '2026-01-01' + interval '1 second' * i
		FROM generate_series(1, $1::int) AS i`, scaled(200_000, 1_000_000))
	first := scalar[time.Time](t, conn, `SELECT min(created_at) FROM (
		SELECT created_at FROM notifier.events WHERE recipient = 'user7' ORDER BY created_at DESC LIMIT $1) AS last`, own)
	want := column[string](t, conn, `SELECT key FROM notifier.events WHERE recipient = 'user7' AND created_at >= $1 ORDER BY id`, first)
	d := open(t, c)
	l := follow(t, d)
	for _, state := range []string{"unanalysed", "analysed"} {
		got := replay(t, d, "user7", first, l.Point())
		if !slices.Equal(got, want) || len(got) != own {
			t.Errorf("%s: %d events were replayed, and they are not the %d", state, len(got), len(want))
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			reader := dbtest.Connect(t, c.URL)
			exec(t, reader, `BEGIN; SET plan_cache_mode = `+mode)
			exec(t, reader, db.ReplayPlan)
			for _, since := range []string{first.Format(time.RFC3339Nano), "-infinity"} {
				plan := explain(t, reader, db.ReplayPage, fmt.Sprint(1<<20), fmt.Sprint(db.PageBytes),
					"'user7'", quote(since), "0", fmt.Sprint(db.PageRows))
				t.Log(state, mode, since)
				plan.wantScan(t, "events_recipient", own, own+50)
			}
		}
		exec(t, conn, `ANALYZE notifier.events`)
	}
}
