package db_test

import (
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
)

// A host that takes connections and never answers must not stop the feed for
// good: neither at the start nor when it reconnects.
func TestFeed_GivesUpAServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	proxy := dbtest.NewProxy(t, url)
	proxy.Stall()
	silent := proxy.URL() + "&connect_timeout=1"
	if err := open(t, db.Config{URL: url, ListenURL: silent}).Feed(t.Context(), newLog()); err == nil {
		t.Error("a feed that was never answered reports nothing")
	}
	proxy.Resume()
	l := follow(t, open(t, db.Config{URL: url, ListenURL: silent, PollInterval: time.Hour}))
	proxy.Stall()
	proxy.Cut()
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('meanwhile')`)
	dbtest.Eventually(t, "it has tried to reconnect", func() bool { return proxy.Connections() > 0 })
	proxy.Resume()
	l.waitFor(t, 1)
}

// A poll may go through a pooler: what it sets must not stay in a session that
// others use next.
func TestFeed_PollLeavesTheSessionAsItIs(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), PollOnly: true, PollInterval: 5 * time.Millisecond}
	conn := dbtest.Connect(t, c.URL)
	session, readOnce := db.PollSession(t, open(t, c))
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('read')`)
	if n := readOnce(); n != 1 {
		t.Errorf("read %d events", n)
	}
	const settings = `SELECT coalesce(string_agg(name || '=' || setting, ' ' ORDER BY name), '') FROM pg_settings WHERE source = 'session'`
	if got, want := scalar[string](t, session, settings), scalar[string](t, conn, settings); got != want {
		t.Errorf("the session has\n%s\nand a fresh one\n%s", got, want)
	}
}
