package db_test

import (
	"context"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// clockOf returns the clock of the page that an event came on.
func (l *log) clockOf(t *testing.T, key string) notifier.Clock {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pages {
		for _, e := range p.Events {
			if e.Key == key {
				return p.Clock
			}
		}
	}
	t.Fatalf("no event %q has come", key)
	return notifier.Clock{}
}

func databaseTime(t *testing.T, conn *pgx.Conn) time.Time {
	t.Helper()
	return scalar[time.Time](t, conn, `SELECT clock_timestamp()`)
}

// When a long transaction wrote its event says little about when it committed;
// that it was still in progress at the last read says more.
func TestFeed_ClockOfALongTransaction(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), PollInterval: time.Hour}
	long, short := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
	l := follow(t, open(t, c))
	exec(t, long, `BEGIN`)
	exec(t, long, `INSERT INTO notifier.events (key) VALUES ('long')`)
	written := databaseTime(t, short)
	exec(t, short, `INSERT INTO notifier.events (key) VALUES ('short')`)
	l.waitFor(t, 1)
	exec(t, long, `COMMIT`)
	committed := databaseTime(t, short)
	l.waitFor(t, 2)
	clock := l.clockOf(t, "long")
	if !clock.Since.After(written) || !clock.Since.Before(committed) {
		t.Errorf("it committed after %v: want a time between %v, when it was in progress, and %v", clock.Since, written, committed)
	}
	if clock.Ahead.Abs() > time.Minute {
		t.Errorf("the clock of the same machine is %v ahead", clock.Ahead)
	}
}

// cutting has the feed lose its connection after the first page of a batch.
type cutting struct {
	*log
	cut func()
}

func (c *cutting) Publish(ctx context.Context, p notifier.Page) error {
	err := c.log.Publish(ctx, p)
	if !p.Last && c.cut != nil {
		c.cut()
		c.cut = nil
	}
	return err
}

// A batch that is read in two halves, by two connections, began when it began.
func TestFeed_ClockOfABatchBrokenOff(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t), PollInterval: time.Hour}
	conn, killer := dbtest.Connect(t, c.URL), dbtest.Connect(t, c.URL)
	d := open(t, c)
	l := &cutting{log: newLog(), cut: func() {
		_, err := killer.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'notifier feed'`)
		if err != nil {
			t.Errorf("cut the feed off: %v", err)
		}
	}}
	feed(t, d, l)
	dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
	exec(t, conn, `INSERT INTO notifier.events (key) SELECT n::text FROM generate_series(1, 2500) AS n`)
	l.waitFor(t, 2500)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('next')`)
	l.waitFor(t, 2501)
	first, last := l.clockOf(t, "1"), l.clockOf(t, "2500")
	if first.Since.IsZero() || !last.Since.Equal(first.Since) {
		t.Errorf("it began after %v, says its first page, and after %v, says its last", first.Since, last.Since)
	}
	if next := l.clockOf(t, "next"); !next.Since.After(first.Since) {
		t.Errorf("the next began after %v, the one before after %v", next.Since, first.Since)
	}
	if d.Stats().Reconnects == 0 {
		t.Error("the connection was not lost")
	}
}
