package db_test

import (
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
)

// The snapshot of a standby does not list the transactions in progress.
func TestStandby_IsRefused(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t)
	primary := open(t, db.Config{URL: dbtest.New(t), ListenURL: cluster.URL("")})
	if err := os.WriteFile(filepath.Join(cluster.Dir(), "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Open(t.Context(), db.Config{URL: cluster.URL("")}); !errors.Is(err, db.ErrStandby) {
		t.Errorf("opening it: %v", err)
	}
	if err := primary.Feed(t.Context(), newLog()); !errors.Is(err, db.ErrStandby) {
		t.Errorf("following it: %v", err)
	}
}

func TestEncoding_MustBeUTF8(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `CREATE DATABASE "latin for db" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	defer exec(t, conn, `DROP DATABASE "latin for db" WITH (FORCE)`)
	latin := strings.Replace(url, "/"+scalar[string](t, conn, `SELECT current_database()`), "/latin%20for%20db", 1)
	if _, err := db.Open(t.Context(), db.Config{URL: latin}); err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("opening it: %v", err)
	}
	if err := open(t, db.Config{URL: url, ListenURL: latin}).Feed(t.Context(), newLog()); err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("following it: %v", err)
	}
}

// The connection breaks several times while a batch of many pages is read:
// another one reads on where it was.
func TestFeed_CutInsideABatch(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		proxy := dbtest.NewProxy(t, c.URL)
		c.ListenURL = proxy.URL()
		conn := dbtest.Connect(t, c.URL)
		d := open(t, c)
		g := newGated(t)
		feed(t, d, g)
		dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
		exec(t, conn, `INSERT INTO notifier.events (key) SELECT i::text FROM generate_series(1, 4500) AS i`)
		for page := 1; !g.await(t).Last; page++ {
			if page%2 == 1 {
				proxy.Cut()
			}
			exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('later')`) // belongs to no page of this batch
			g.proceed <- struct{}{}
		}
		g.open()
		later := scalar[int](t, conn, `SELECT count(*) FROM notifier.events WHERE key = 'later'`)
		g.waitFor(t, 4500+later)
		for i, key := range g.keys() {
			if want := fmt.Sprint(i + 1); i < 4500 && key != want || i >= 4500 && key != "later" {
				t.Fatalf("event %d is %s", i, key)
			}
		}
		if later < 4 {
			t.Errorf("only %d pages were cut or not", later)
		}
	})
}

// A volume that was rolled back, as a failover may do: transactions that were
// read are gone. There is nothing to go on from; a new beginning is made, aloud.
func TestFeed_HistoryLost(t *testing.T) {
	t.Parallel()
	cp, err := osexec.LookPath("cp")
	if err != nil {
		t.Skip("no cp to keep a volume with")
	}
	cluster := dbtest.NewCluster(t)
	var said logText
	d := open(t, db.Config{URL: cluster.URL(""), Logger: said.logger(), PollInterval: 50 * time.Millisecond})
	exec(t, dbtest.Connect(t, cluster.URL("")), `CHECKPOINT`)
	data, kept := filepath.Join(cluster.Dir(), "data"), filepath.Join(cluster.Dir(), "kept")
	stopped(t, cluster, func() error { return osexec.CommandContext(t.Context(), cp, "-pR", data, kept).Run() })

	l := follow(t, d)
	conn := dbtest.Connect(t, cluster.URL(""))
	for range 100 {
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('lost')`)
	}
	l.waitFor(t, 100)
	stopped(t, cluster, func() error {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.Rename(kept, data)
	})
	dbtest.Eventually(t, "the loss is logged", func() bool { return said.contains("lost transactions") })
	dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
	exec(t, dbtest.Connect(t, cluster.URL("")), `INSERT INTO notifier.events (key) VALUES ('new')`)
	l.waitFor(t, 101)
	if last := l.keys()[100]; last != "new" {
		t.Errorf("%q came", last)
	}
}

// On each reconnect, the feed looks whether what it has read lately is still
// there. What retention has removed is not missed.
func TestFeed_ReconnectLooksForWhatWasRead(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), PollInterval: 20 * time.Millisecond, Retention: time.Hour}
	conn := dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := follow(t, d)
	const bulk = 2*db.RecentEvents + 100
	exec(t, conn, `INSERT INTO notifier.events (key) SELECT 'bulk' FROM generate_series(1, $1::int)`, bulk)
	l.waitFor(t, bulk)
	reconnect := func(change, key string, starts int) {
		t.Helper()
		exec(t, conn, change)
		exec(t, conn, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'notifier feed'`)
		dbtest.Eventually(t, "the feed is back", func() bool { now, _ := l.begun(); return now == starts && d.Ready() == nil })
		before := len(l.seen())
		exec(t, conn, `INSERT INTO notifier.events (key) VALUES ($1)`, key)
		l.waitFor(t, before+1)
		if last := l.keys()[before]; last != key {
			t.Errorf("%q came, want %q", last, key)
		}
		if now, _ := l.begun(); now != starts {
			t.Errorf("after %s: %d beginnings, want %d", key, now, starts)
		}
	}
	reconnect(`SELECT`, "all is there", 1)
	reconnect(`DELETE FROM notifier.events WHERE id <= 1000`, "what was read long ago is gone", 1)
	reconnect(`INSERT INTO notifier.positions
		SELECT now() - interval '2 hours', position FROM notifier.beginning();
		DELETE FROM notifier.events WHERE id < 8000;
		DELETE FROM notifier.positions WHERE taken_at < now() - interval '3 hours'`, "retention was here", 1)
	reconnect(`DELETE FROM notifier.events WHERE key = 'retention was here'`, "one is gone", 2)
}

// stopped does something while the server is down.
func stopped(t *testing.T, cluster *dbtest.Cluster, work func() error) {
	t.Helper()
	if err := cluster.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := work(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}
