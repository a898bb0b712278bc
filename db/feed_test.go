package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// log is a hub that remembers what the feed brings it.
type log struct {
	*notifier.Hub
	mu     sync.Mutex
	events []*notifier.Event
	pages  []notifier.Page
	starts []notifier.Beginning
	went   []notifier.History // on in these
}

func newLog() *log { return &log{Hub: notifier.NewHub(notifier.HubConfig{})} }

func (l *log) Publish(ctx context.Context, p notifier.Page) error {
	err := l.Hub.Publish(ctx, p) // first: who waits for an event here finds the hub past it
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, p.Events...)
	l.pages = append(l.pages, p)
	return err
}

func (l *log) Start(b notifier.Beginning) {
	l.Hub.Start(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts = append(l.starts, b)
}

func (l *log) Continue(history notifier.History) {
	l.Hub.Continue(history)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.went = append(l.went, history)
}

// start returns the latest beginning, begun how many there were.
func (l *log) start() notifier.Beginning {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts[len(l.starts)-1]
}

func (l *log) begun() (starts, continued int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.starts), len(l.went)
}

func (l *log) seen() []*notifier.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events
}

// keys returns the keys of all events that have come, in their order.
func (l *log) keys() []string {
	var all []string
	for _, e := range l.seen() {
		all = append(all, e.Key)
	}
	return all
}

func (l *log) waitFor(t *testing.T, count int) {
	t.Helper()
	dbtest.Eventually(t, fmt.Sprintf("%d events have come", count), func() bool { return len(l.seen()) >= count })
}

// open connects to a database and closes it with the test.
func open(t *testing.T, c db.Config) *db.DB {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	d, err := db.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// follow runs a feed until the test ends and waits until it follows the log.
func follow(t *testing.T, d *db.DB) *log {
	t.Helper()
	l := newLog()
	feed(t, d, l)
	dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
	return l
}

func feed(t *testing.T, d *db.DB, hub db.Hub) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the test
		if err := d.Feed(ctx, hub); err != nil {
			t.Errorf("feed: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// eachMode runs a test with LISTEN, where a poll would come too late, and without.
func eachMode(t *testing.T, test func(t *testing.T, c db.Config)) {
	t.Run("listening", func(t *testing.T) {
		t.Parallel()
		test(t, db.Config{URL: dbtest.New(t), PollInterval: time.Hour})
	})
	t.Run("polling", func(t *testing.T) {
		t.Parallel()
		test(t, db.Config{URL: dbtest.New(t), PollOnly: true, PollInterval: 5 * time.Millisecond})
	})
}

func TestFeed_CommittedRowsArriveOnce(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		conn := dbtest.Connect(t, c.URL)
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('before the start')`)
		l := follow(t, open(t, c))
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('one')`)
		exec(t, conn, `SELECT notifier.publish('t', key => 'two')`)
		exec(t, conn, `BEGIN`)
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('never')`)
		exec(t, conn, `ROLLBACK`)
		exec(t, conn, `INSERT INTO notifier.events (key) SELECT 'many' FROM generate_series(1, 3)`)
		l.waitFor(t, 5)
		if got, want := fmt.Sprint(l.keys()), "[one two many many many]"; got != want {
			t.Errorf("came %s, want %s", got, want)
		}
	})
}

// A transaction that began earlier and commits later is what cursors by time or
// by id lose.
func TestFeed_LateCommitterIsNotLost(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		early, late := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
		l := follow(t, open(t, c))
		exec(t, early, `BEGIN`)
		exec(t, early, `INSERT INTO notifier.events (key) VALUES ('began first')`)
		for i := range 20 {
			exec(t, late, `INSERT INTO notifier.events (key) VALUES ('overtook')`)
			l.waitFor(t, i+1)
		}
		exec(t, early, `COMMIT`)
		l.waitFor(t, 21)
		if last := l.keys()[20]; last != "began first" {
			t.Errorf("the last is %q", last)
		}
	})
}

func TestFeed_RowsAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), MaxPayload: 100}
	conn := dbtest.Connect(t, c.URL)
	l := follow(t, open(t, c))
	exec(t, conn, `INSERT INTO notifier.events
		(created_at, type, action, key, recipient, dataset_id, principal, payload, original) VALUES
		('infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
		('-infinity', 't', 'a', 'k', '', 'd', 'p', '{"b" : 1,  "a":"\u0000"}', ' [1]'),
		('4714-11-24 00:00:00+00 BC', '', '', '', 'r', NULL, NULL, to_json(repeat('x', 98)), to_json(repeat('x', 99))),
		('294276-12-31 23:59:59+00', '', '', '', 'r', NULL, NULL, to_json(repeat('x', 10000000)), '1')`)
	l.waitFor(t, 4)
	e := l.seen()
	if e[0].CreatedAt != notifier.MaxTime || e[0].Type != "" || e[0].Recipient != nil || e[0].DatasetID != nil || e[0].Payload != nil {
		t.Errorf("nulls are read as %+v", e[0])
	}
	if e[1].CreatedAt != notifier.MinTime || *e[1].Recipient != "" || *e[1].DatasetID != "d" || e[1].Principal != "p" ||
		string(e[1].Payload) != `{"b" : 1,  "a":"\u0000"}` || string(e[1].Original) != " [1]" {
		t.Errorf("the second is read as %+v", e[1])
	}
	if !e[2].CreatedAt.Equal(notifier.MinTime) || len(e[2].Payload) != 100 || e[2].Original != nil {
		t.Errorf("at the limit of size: %d and %d bytes, %v", len(e[2].Payload), len(e[2].Original), e[2].CreatedAt)
	}
	if !e[3].CreatedAt.Equal(notifier.MaxTime) || e[3].Payload != nil || string(e[3].Original) != "1" {
		t.Errorf("above the limit of size: %d bytes, %v", len(e[3].Payload), e[3].CreatedAt)
	}
}

// A batch of any size comes in pages that are bounded in rows and bytes, in
// order.
func TestFeed_LargeBatchesComeInPages(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		conn := dbtest.Connect(t, c.URL)
		l := follow(t, open(t, c))
		exec(t, conn, `INSERT INTO notifier.events (key, payload)
			SELECT i::text, CASE WHEN i % 100 = 0 THEN to_json(repeat('x', 300000)) END
			FROM generate_series(1, 10000) AS i`)
		l.waitFor(t, 10000)
		for i, key := range l.keys() {
			if key != fmt.Sprint(i+1) {
				t.Fatalf("event %d has the key %s", i+1, key)
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, p := range l.pages {
			size := 0
			for _, e := range p.Events {
				size += len(e.Payload)
			}
			if len(p.Events) > 1000 || size > 1<<20+300_002 {
				t.Errorf("a page of %d events and %d bytes", len(p.Events), size)
			}
		}
	})
}

func TestFeed_LostConnectionIsACatchUp(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), PollInterval: time.Hour}
	conn := dbtest.Connect(t, c.URL)
	l := follow(t, open(t, c))
	for i := range 10 {
		exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'notifier feed'`)
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ($1)`, fmt.Sprint(i))
		l.waitFor(t, i+1)
	}
	if got, want := fmt.Sprint(l.keys()), "[0 1 2 3 4 5 6 7 8 9]"; got != want {
		t.Errorf("came %s, want %s", got, want)
	}
}

func TestFeed_FirstConnectionFailsFast(t *testing.T) {
	t.Parallel()
	d := open(t, db.Config{URL: dbtest.New(t), ListenURL: "postgres://127.0.0.1:1/nothing?connect_timeout=1"})
	if err := d.Feed(t.Context(), newLog()); err == nil {
		t.Error("a feed that never could connect reports nothing")
	}
	if d.Ready() == nil {
		t.Error("a feed that could not connect is ready")
	}
}

// Nothing of an event's size may fail the commit that carries it.
func TestFeed_NothingIsTooLargeForACommit(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	d := open(t, c)
	conn := dbtest.Connect(t, c.URL)
	l := follow(t, d)
	var huge string
	if err := conn.QueryRow(t.Context(), `SELECT string_agg(md5(i::text), '') FROM generate_series(1, 4000) AS i`).Scan(&huge); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal)
		VALUES ($1, $1, $1, $1, $1, $1), ($1, $1, $1, left($1, 1000), $1, $1)`, huge)
	l.waitFor(t, 2)
	var replayed []string
	err := d.Replay(t.Context(), []notifier.Filter{{Recipient: &huge}}, l.Point(), func(page []*notifier.Event) error {
		for _, e := range page {
			replayed = append(replayed, *e.Recipient)
		}
		return nil
	})
	if err != nil || len(replayed) != 1 || replayed[0] != huge {
		t.Errorf("replayed %d events, %v", len(replayed), err)
	}
}
