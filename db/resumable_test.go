package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

func wantResumable(t *testing.T, d *db.DB, what string, c notifier.Cursor, want bool) {
	t.Helper()
	got, err := d.Resumable(t.Context(), c)
	if err != nil || got != want {
		t.Errorf("a cursor %s (%v of history %x, %+v): resumable %t, %v; want %t", what, c.Point, c.History, c.Anchor, got, err, want)
	}
}

func TestResumable(t *testing.T) {
	t.Parallel()
	url := quietCluster(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, PollInterval: 20 * time.Millisecond})
	if _, err := d.Resumable(t.Context(), notifier.Cursor{}); err == nil {
		t.Error("an answer before the feed knows whose log it is")
	}
	l := follow(t, d)
	empty := cursorHere(t, conn)
	wantResumable(t, d, "of an empty log", empty, true)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a'), ('b')`)
	c := cursorHere(t, conn)
	wantResumable(t, d, "of now", c, true)
	l.waitFor(t, 2)
	wantResumable(t, d, "of the feed's", notifier.Cursor{History: l.start().History, Point: l.Point(), Anchor: notifier.AnchorOf(l.seen()[1])}, true)
	wantResumable(t, d, "from before the first event", empty, true)

	broken := c
	broken.History[4]++
	wantResumable(t, d, "of another history", broken, false)
	for name, change := range map[string]func(*notifier.Anchor){
		"another id": func(a *notifier.Anchor) { a.ID-- },
		"no such id": func(a *notifier.Anchor) { a.ID = 1e15 },
		"txid":       func(a *notifier.Anchor) { a.TxID-- },
		"mark":       func(a *notifier.Anchor) { a.Mark[0]++ },
	} {
		broken = c
		change(&broken.Anchor)
		wantResumable(t, d, "with another event as its anchor: "+name, broken, false)
	}

	ahead, err := notifier.ParsePosition(scalar[string](t, conn,
		`SELECT format('%1$s:%1$s:', pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1)`))
	if err != nil {
		t.Fatal(err)
	}
	broken = c
	broken.Point = notifier.Point{From: c.Point.From, To: ahead}
	wantResumable(t, d, "from the future", broken, false)

	// An id that had ended and is in progress was given out twice.
	exec(t, conn, `BEGIN`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('open')`)
	other := dbtest.Connect(t, url)
	exec(t, other, `SELECT pg_current_xact_id()`)
	p := present(t, other)
	if broken.Point.To, err = notifier.ParsePosition(fmt.Sprintf("%[1]d:%[1]d:", p.Xmax())); err != nil {
		t.Fatal(err)
	}
	wantResumable(t, d, "beyond one in progress", broken, false)
	broken.Point.To = p
	wantResumable(t, d, "with one in progress", broken, true)
	exec(t, conn, `COMMIT`)
	wantResumable(t, d, "with one that was in progress", broken, true)
}

// From the floor of retention on nothing is missing; below it, something may be.
func TestResumable_RetentionHasPassed(t *testing.T) {
	t.Parallel()
	url := quietCluster(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, Retention: time.Hour})
	follow(t, d)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a')`)
	below := cursorHere(t, conn)
	retain(t, d)
	wantResumable(t, d, "from before a recorded position", below, true)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('b')`)
	at := cursorHere(t, conn)
	backdate(t, conn, `2 hours`)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('c')`)
	above := cursorHere(t, conn)
	wantResumable(t, d, "from before what will go", below, true)
	if removed := retain(t, d); removed != 2 {
		t.Fatalf("removed %d", removed)
	}
	wantResumable(t, d, "below the floor", below, false)
	wantResumable(t, d, "at the floor, whose anchor is removed", at, true)
	wantResumable(t, d, "above the floor", above, true)

	inBatch := above
	inBatch.Point.From, inBatch.Point.After = below.Point.From, above.Anchor.ID
	wantResumable(t, d, "inside a batch that begins below the floor", inBatch, false)
	inBatch.Point.From = at.Point.From
	wantResumable(t, d, "inside a batch that begins at the floor", inBatch, true)
}

// All who come while a statement is under way share the next one, and nobody
// waits longer than it wants to.
func TestResumable_ManyAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, gate := dbtest.Connect(t, url), dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	follow(t, d)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a')`)
	good := cursorHere(t, conn)
	bad := good
	bad.Anchor.Mark[1]++
	const clients = 2500
	exec(t, gate, `BEGIN; LOCK TABLE notifier.histories`)
	var wg sync.WaitGroup
	ask := func(c notifier.Cursor, want bool) {
		wg.Go(func() { wantResumable(t, d, "among many", c, want) }) // ends when the gate opens
	}
	ask(good, true)
	awaitBlocked(t, conn, 1)
	impatient, cancel := context.WithCancel(t.Context())
	for i := range clients {
		switch i % 3 {
		case 0:
			ask(good, true)
		case 1:
			ask(bad, false)
		default:
			wg.Go(func() { // ends with the cancel below
				if _, err := d.Resumable(impatient, good); !errors.Is(err, context.Canceled) {
					t.Errorf("who did not wait was told %v", err)
				}
			})
		}
	}
	dbtest.Eventually(t, "all wait", func() bool { return db.WaitingToResume(d) == clients })
	cancel()
	exec(t, gate, `COMMIT`)
	wg.Wait()
	if got := db.ResumeStatements(d); got > 4 {
		t.Errorf("%d statements for %d clients", got, clients)
	}
}
