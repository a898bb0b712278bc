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

// A crash hands out again the ids of transactions that had not reached the disk.
// Each of these shows nothing unless that happens, which depends on what the
// server writes of its own accord; so it is tried several times.
func TestCrash_IDsHandedOutAgain(t *testing.T) {
	t.Parallel()
	cluster := quietWAL(t)
	for _, c := range []struct {
		name string
		try  func(t *testing.T, cluster *dbtest.Cluster) (reused bool)
	}{
		{"below a position", crashBelowAPosition},
		{"inside a batch", crashInsideABatch},
		{"to a stranger, in place of a publisher", crashWhilePublishing},
		{"of what was read", crashOfWhatWasRead},
	} {
		t.Run(c.name, func(t *testing.T) {
			for attempt := range 5 {
				if c.try(t, cluster) {
					return
				}
				t.Logf("attempt %d: the ids were not handed out again", attempt+1)
			}
			t.Fatal("the ids were never handed out again: nothing is shown")
		})
	}
}

// A position that had stepped over the ids of what was rolled back would skip
// the commits that reuse them.
func crashBelowAPosition(t *testing.T, cluster *dbtest.Cluster) bool {
	l := follow(t, open(t, db.Config{URL: cluster.URL(""), PollOnly: true, PollInterval: 5 * time.Millisecond}))
	conn := dbtest.Connect(t, cluster.URL(""))
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('before')`)
	l.waitFor(t, 1)
	first := rollBack(t, conn)
	last := rollBack(t, conn)
	awaitRound(t, conn) // the feed's latest snapshot has stepped over them
	if now := scalar[uint64](t, conn, `SELECT pg_snapshot_xmax(pg_current_snapshot())`); now <= last {
		t.Fatalf("the snapshot ends at %d, before %d", now, last)
	}
	crash(t, cluster)
	conn = dbtest.Connect(t, cluster.URL(""))
	reused := beginAs(t, conn, "reused", first)
	exec(t, conn, `COMMIT`)
	l.waitFor(t, 2)
	if got := fmt.Sprint(l.keys()); got != "[before reused]" {
		t.Errorf("came %s", got)
	}
	return reused
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
		select {
		case <-g.proceed:
		case <-ctx.Done(): // the test has failed
			return context.Cause(ctx)
		}
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

// The feed stands inside a large batch, when a crash takes back transactions that
// had ended as it was begun. Their ids are handed out again while the rest of the batch
// is still to be read: one commits, and a smaller one is in progress.
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
	if p := g.await(t); p.Last || p.To.Ended(small) {
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

// A publisher whose commit was not answered looks for its event, and finds a
// stranger's that has got both its ids.
func crashWhilePublishing(t *testing.T, cluster *dbtest.Cluster) bool {
	setup := dbtest.Connect(t, cluster.URL(""))
	exec(t, setup, `CHECKPOINT`) // the next event's id is not on the disk
	s := publishStuck(t, cluster.URL(""), notifier.Publication{Events: events("lost")})
	s.proxy.Refuse()
	const ids = `SELECT last_value || ' ' || (SELECT max(backend_xid::text::bigint) FROM pg_stat_activity) FROM notifier.events_id_seq`
	lost := scalar[string](t, setup, ids)
	crash(t, cluster)
	stranger := dbtest.Connect(t, cluster.URL(""))
	got := scalar[string](t, stranger, `INSERT INTO notifier.events (key) VALUES ('stranger') RETURNING id || ' ' || txid`)
	s.proxy.Accept()
	if err := <-s.ended; err == nil {
		t.Error("a publisher whose event is lost was told that it is stored")
	}
	return got == lost
}

// A commit that did not wait for the disk is read and then lost. What gets its
// ids is another event: it is delivered, and nobody resumes after the lost one.
func crashOfWhatWasRead(t *testing.T, cluster *dbtest.Cluster) (reused bool) {
	var said logText
	d := open(t, db.Config{URL: cluster.URL(""), PollOnly: true, PollInterval: 5 * time.Millisecond, Logger: said.logger()})
	l := follow(t, d)
	conn := dbtest.Connect(t, cluster.URL(""))
	commit(t, conn, "kept")
	l.waitFor(t, 1)
	kept := cursorHere(t, conn)
	exec(t, conn, `SET synchronous_commit = off`)
	first, last := commit(t, conn, "lost"), commit(t, conn, "lost")
	l.waitFor(t, 3)
	after := cursorHere(t, conn)
	crash(t, cluster)
	conn = dbtest.Connect(t, cluster.URL(""))
	if scalar[bool](t, conn, `SELECT EXISTS (SELECT FROM notifier.events WHERE key = 'lost' AND txid >= $1)`, first) {
		exec(t, conn, `DELETE FROM notifier.events WHERE key = 'lost'`)
		return false // the server has written it after all
	}
	dbtest.Eventually(t, "the feed begins anew", func() bool { starts, _ := l.begun(); return starts == 2 && d.Ready() == nil })
	reused = commit(t, conn, "new") <= last
	commit(t, conn, "new")
	commit(t, conn, "new")
	l.waitFor(t, 6)
	if got := fmt.Sprint(l.keys()); got != "[kept lost lost new new new]" {
		t.Errorf("came %s", got)
	}
	wantResumable(t, d, "of what is lost", after, false)
	wantResumable(t, d, "of what is kept", kept, true)
	return reused
}
