package db_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// pair is a primary and its streaming replica, and an instance that reaches
// whichever is the primary by one address.
type pair struct {
	primary, replica *dbtest.Cluster
	proxy            *dbtest.Proxy
	db               *db.DB
	log              *log
	said             logText
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: dbtest.NewCluster(t, dbtest.Settings(map[string]string{"autovacuum": "off"}))}
	p.replica = p.primary.Replica(t)
	p.proxy = dbtest.NewProxy(t, p.primary.URL(""))
	p.db = open(t, db.Config{URL: p.proxy.URL(), Logger: p.said.logger(), PollInterval: 20 * time.Millisecond})
	p.log = follow(t, p.db)
	return p
}

// failOver makes the replica the primary.
func (p *pair) failOver(t *testing.T) *pgx.Conn {
	t.Helper()
	if err := p.primary.Crash(); err != nil {
		t.Fatal(err)
	}
	p.replica.Promote(t)
	p.proxy.Target(t, p.replica.URL(""))
	return dbtest.Connect(t, p.replica.URL(""))
}

// commit publishes an event in a transaction of its own and returns its id.
func commit(t *testing.T, conn *pgx.Conn, key string) (txid uint64) {
	t.Helper()
	return scalar[uint64](t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ($1, 'u') RETURNING txid`, key)
}

// feedCursor is the cursor of a client that has had all that the feed has brought.
func (p *pair) feedCursor() notifier.Cursor {
	c := notifier.Cursor{History: p.log.start().History, Point: p.log.Point(), Anchor: p.log.start().Anchor}
	for _, e := range p.log.seen() {
		if e.TxID >= c.Anchor.TxID {
			c.Anchor = notifier.AnchorOf(e)
		}
	}
	return c
}

// A standby that has everything is promoted: the feed goes on, and so do clients,
// also those of instances that start later.
func TestFailover_NothingLost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	conn := dbtest.Connect(t, p.primary.URL(""))
	late := dbtest.Connect(t, p.primary.URL(""))
	exec(t, late, `BEGIN`)
	commit(t, late, "in progress")
	commit(t, conn, "a")
	commit(t, conn, "b")
	p.log.waitFor(t, 2)
	mine, page := p.feedCursor(), cursorHere(t, conn)
	commit(t, conn, "c") // which the feed may have read, or not
	p.replica.CatchUp(t, p.primary)
	conn = p.failOver(t)
	dbtest.Eventually(t, "the feed goes on", func() bool { _, went := p.log.begun(); return went == 1 && p.db.Ready() == nil })
	wantResumable(t, p.db, "of before the failover", mine, true)
	wantResumable(t, p.db, "of a page before the failover", page, true)
	commit(t, conn, "d")
	p.log.waitFor(t, 4)
	if starts, _ := p.log.begun(); fmt.Sprint(p.log.keys()) != "[a b c d]" || starts != 1 {
		t.Errorf("came %v, in %d beginnings", p.log.keys(), starts)
	}
	now := cursorHere(t, conn)
	if now.History == mine.History || now.History != p.log.went[0] {
		t.Errorf("the histories are %x, %x and %x", mine.History, now.History, p.log.went)
	}
	wantResumable(t, p.db, "of now", now, true)
	beyond := now
	beyond.History = mine.History
	wantResumable(t, p.db, "of the old history, beyond its end", beyond, false)

	other := open(t, db.Config{URL: p.replica.URL("")})
	follow(t, other)
	wantResumable(t, other, "of before the failover, at another instance", mine, true)
	wantResumable(t, other, "of now, at another instance", now, true)
}

// A standby is promoted that lacks the last transactions, which were read. Their
// ids are given out again.
func TestFailover_TailLost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	conn := dbtest.Connect(t, p.primary.URL(""))
	commit(t, conn, "a")
	p.log.waitFor(t, 1)
	early := cursorHere(t, conn)
	p.replica.CatchUp(t, p.primary)
	p.replica.Detach(t)
	var lost []uint64
	for i := range 5 {
		lost = append(lost, commit(t, conn, "lost"))
		p.log.waitFor(t, i+2)
	}
	mine := p.feedCursor()
	conn = p.failOver(t)
	dbtest.Eventually(t, "the feed begins anew", func() bool {
		starts, _ := p.log.begun()
		return starts == 2 && p.db.Ready() == nil
	})
	here := cursorHere(t, conn)
	reused := 0
	for i := range 10 {
		if slices.Contains(lost, commit(t, conn, fmt.Sprint("new ", i))) {
			reused++
		}
	}
	p.log.waitFor(t, 16)
	want := "[a lost lost lost lost lost new 0 new 1 new 2 new 3 new 4 new 5 new 6 new 7 new 8 new 9]"
	if got := fmt.Sprint(p.log.keys()); got != want {
		t.Errorf("came %s, want %s", got, want)
	}
	if reused == 0 {
		t.Error("no id was given out again: nothing is shown")
	}
	if !p.said.contains("lost transactions") || !p.said.contains("events=5") {
		t.Error("the loss was not logged")
	}
	if _, went := p.log.begun(); went != 0 {
		t.Errorf("the feed went on %d times", went)
	}
	wantResumable(t, p.db, "of what is lost", mine, false)
	wantResumable(t, p.db, "of the old history", early, false)
	wantResumable(t, p.db, "of the new history", here, true)
	wantResumable(t, p.db, "of now", p.feedCursor(), true)
}
