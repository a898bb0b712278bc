package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// quietWAL makes a private cluster in which almost nothing but a commit brings
// the log of transactions to the disk, so that a crash takes back all the rest.
func quietWAL(t testing.TB) *dbtest.Cluster {
	t.Helper()
	return dbtest.NewCluster(t, dbtest.Durable(), dbtest.Settings(map[string]string{
		"wal_writer_delay":       "10s",
		"wal_writer_flush_after": "1GB",
		"autovacuum":             "off",
		"bgwriter_lru_maxpages":  "0",
	}))
}

// crash stops the server as a loss of power would and starts it again.
func crash(t *testing.T, c *dbtest.Cluster) {
	t.Helper()
	if err := c.Crash(); err != nil {
		t.Fatalf("crash: %v", err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatalf("restart after the crash: %v", err)
	}
}

// rollBack begins a transaction that takes an id and an event, and rolls back.
// Nothing of it reaches the disk.
func rollBack(t *testing.T, conn *pgx.Conn) (txid uint64) {
	t.Helper()
	exec(t, conn, `BEGIN`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('rolled back')`)
	txid = scalar[uint64](t, conn, `SELECT pg_current_xact_id()`)
	exec(t, conn, `ROLLBACK`)
	return txid
}

// beginAs begins a transaction, writes an event, and tells whether it got the
// id that is expected.
func beginAs(t *testing.T, conn *pgx.Conn, key string, want uint64) bool {
	t.Helper()
	exec(t, conn, `BEGIN`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ($1)`, key)
	return scalar[uint64](t, conn, `SELECT pg_current_xact_id()`) == want
}

// attempts are made at a setup that depends on what the server keeps to itself.
const attempts = 5

// A crash hands out again the ids of transactions that rolled back without
// reaching the disk. A position that had stepped over them would skip the
// commits that reuse them.
func TestFeed_TransactionIDsHandedOutAgain(t *testing.T) {
	t.Parallel()
	cluster := quietWAL(t)
	c := db.Config{URL: cluster.URL(""), PollOnly: true, PollInterval: 5 * time.Millisecond}
	l := follow(t, open(t, c))
	exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.events (key) VALUES ('before')`)
	l.waitFor(t, 1)
	for attempt := range attempts {
		conn := dbtest.Connect(t, c.URL)
		var lost uint64
		for range 5 {
			lost = rollBack(t, conn)
		}
		awaitRound(t, conn) // the feed's latest snapshot has stepped over them
		if now := scalar[uint64](t, conn, `SELECT pg_snapshot_xmax(pg_current_snapshot())`); now <= lost {
			t.Fatalf("the snapshot ends at %d, before %d", now, lost)
		}
		crash(t, cluster)
		conn = dbtest.Connect(t, c.URL)
		before := len(l.seen())
		reused := beginAs(t, conn, "reused", lost-4)
		exec(t, conn, `COMMIT`)
		l.waitFor(t, before+1)
		if last := l.keys()[before]; last != "reused" {
			t.Errorf("%q came", last)
		}
		if reused {
			return
		}
		t.Logf("attempt %d: the ids were not handed out again", attempt+1)
	}
	t.Fatal("the ids were never handed out again: nothing is shown")
}

// gated is a hub that takes each page only when it is told to.
type gated struct {
	*log
	arrived chan notifier.Page
	proceed chan struct{}
	open    func() // lets all pages through from now on
}

func newGated(t *testing.T) *gated {
	g := &gated{log: newLog(), arrived: make(chan notifier.Page), proceed: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.proceed) })
	t.Cleanup(g.open)
	return g
}

func (g *gated) Publish(ctx context.Context, p notifier.Page) error {
	select {
	case g.arrived <- p:
		<-g.proceed
	case <-g.proceed: // open for good
	}
	return g.log.Publish(ctx, p)
}

// await returns the page that waits at the gate.
func (g *gated) await(t *testing.T) (p notifier.Page) {
	t.Helper()
	dbtest.Eventually(t, "a page comes", func() bool {
		select {
		case p = <-g.arrived:
			return true
		default:
			return false
		}
	})
	return p
}

// The feed stands inside a large batch, whose end lies beyond transactions that
// a crash takes back. Their ids are handed out again while the rest of the batch
// is still to be read: one commits, and a smaller one is in progress.
func TestFeed_CrashInsideABatch(t *testing.T) {
	t.Parallel()
	cluster := quietWAL(t)
	for attempt := range attempts {
		if crashInsideABatch(t, cluster) {
			return
		}
		t.Logf("attempt %d: the ids were not handed out again", attempt+1)
	}
	t.Fatal("the ids were never handed out again: nothing is shown")
}

func crashInsideABatch(t *testing.T, cluster *dbtest.Cluster) (reused bool) {
	d := open(t, db.Config{URL: cluster.URL(""), PollOnly: true, PollInterval: 5 * time.Millisecond})
	conn := dbtest.Connect(t, cluster.URL(""))
	g := newGated(t)
	feed(t, d, g)
	dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('first')`)
	g.await(t) // and while the feed waits:
	exec(t, conn, `INSERT INTO notifier.events (key) SELECT 'bulk' FROM generate_series(1, 2500)`)
	small, large := rollBack(t, conn), rollBack(t, conn)
	g.proceed <- struct{}{}
	if p := g.await(t); p.Last || !p.To.Ended(large) {
		t.Fatalf("the first page of the batch from %v to %v: last %t", p.From, p.To, p.Last)
	}
	crash(t, cluster)
	unfinished, finished := dbtest.Connect(t, cluster.URL("")), dbtest.Connect(t, cluster.URL(""))
	reused = beginAs(t, unfinished, "has the smaller id", small) && beginAs(t, finished, "has the larger id", large)
	if !reused {
		return false
	}
	exec(t, finished, `COMMIT`)
	for p := (notifier.Page{}); !p.Last; p = g.await(t) {
		g.proceed <- struct{}{}
	}
	exec(t, unfinished, `COMMIT`)
	g.open()
	g.waitFor(t, 2503)
	count := map[string]int{}
	for _, key := range g.keys() {
		count[key]++
	}
	if got, want := fmt.Sprint(count), "map[bulk:2500 first:1 has the larger id:1 has the smaller id:1]"; got != want {
		t.Errorf("came %s, want %s", got, want)
	}
	return true
}
