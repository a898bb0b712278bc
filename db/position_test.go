package db_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// signer returns the signer of a database's cursors.
func signer(t *testing.T, conn *pgx.Conn) *notifier.CursorSigner {
	t.Helper()
	return notifier.NewCursorSigner(scalar[[]byte](t, conn, `SELECT secret FROM notifier.signing_key`))
}

// cursorHere returns the cursor that the database makes in a connection.
func cursorHere(t *testing.T, conn *pgx.Conn) notifier.Cursor {
	t.Helper()
	return parsed(t, conn, scalar[string](t, conn, `SELECT notifier.position()`))
}

// parsed reads a cursor and checks that the text is, bit by bit, ours.
func parsed(t *testing.T, conn *pgx.Conn, text string) notifier.Cursor {
	t.Helper()
	s := signer(t, conn)
	c, err := s.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if again := s.Text(c); again != text {
		t.Errorf("the database writes %s, we write %s", text, again)
	}
	return c
}

// eventNow returns the stored event of a key.
func eventNow(t *testing.T, conn *pgx.Conn, key string) *notifier.Event {
	t.Helper()
	e := &notifier.Event{Key: key}
	err := conn.QueryRow(t.Context(), `SELECT id, txid, coalesce(type, ''), coalesce(action, '') FROM notifier.events WHERE key = $1`, key).
		Scan(&e.ID, &e.TxID, &e.Type, &e.Action)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// quietCluster makes a private cluster in which only the test takes transaction
// ids.
func quietCluster(t *testing.T) string {
	t.Helper()
	return dbtest.NewCluster(t, dbtest.Settings(map[string]string{"autovacuum": "off"})).URL("")
}

func TestPosition_IsTheStatementsSnapshot(t *testing.T) {
	t.Parallel()
	url := quietCluster(t)
	conn, other, third := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	if c := cursorHere(t, conn); c.Anchor != (notifier.Anchor{}) || c.Point.After != 0 || !c.Point.From.Equal(c.Point.To) {
		t.Errorf("in an empty log: %+v", c)
	}
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a')`)
	a := eventNow(t, conn, "a")
	check := func(what string, in *pgx.Conn, want string, anchor *notifier.Event) {
		t.Helper()
		c := cursorHere(t, in)
		if got := c.Point.To.String(); got != want || c.Anchor.ID != anchor.ID || c.Anchor.TxID != anchor.TxID {
			t.Errorf("%s: %s at event %d of %d, want %s at event %d of %d", what, got, c.Anchor.ID, c.Anchor.TxID, want, anchor.ID, anchor.TxID)
		}
	}
	x := a.TxID
	check("after the first", conn, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)

	exec(t, other, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	check("in a snapshot", other, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)
	exec(t, third, `BEGIN`)
	exec(t, third, `INSERT INTO notifier.events (key) SELECT 'open' FROM generate_series(1, 10)`)
	check("in a transaction that has written", third, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)
	check("while it is open", conn, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('b')`)
	b := eventNow(t, conn, "b")
	overtaken := fmt.Sprintf("%d:%d:%[1]d", x+1, x+3)
	check("overtaken", conn, overtaken, b)
	check("in a transaction that has written and was overtaken", third, overtaken, b)
	exec(t, third, `SAVEPOINT s`)
	exec(t, third, `INSERT INTO notifier.events (key) VALUES ('in a savepoint')`)
	check("in a savepoint", third, overtaken, b)
	exec(t, third, `ROLLBACK TO s`)
	check("after a savepoint", third, overtaken, b)
	check("in an old snapshot", other, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)
	exec(t, other, `INSERT INTO notifier.events (key) VALUES ('own')`)
	check("in an old snapshot, after a write", other, fmt.Sprintf("%[1]d:%[1]d:", x+1), a)
	exec(t, other, `COMMIT`)
	own := eventNow(t, conn, "own")
	check("when that is committed", conn, fmt.Sprintf("%d:%d:%[1]d", x+1, own.TxID+1), own)
	exec(t, third, `COMMIT`)
	check("when all are", conn, fmt.Sprintf("%[1]d:%[1]d:", own.TxID+1), own)
	exec(t, conn, `SELECT pg_current_xact_id() FROM generate_series(1, 3)`)
	check("when others have written elsewhere", conn, fmt.Sprintf("%[1]d:%[1]d:", own.TxID+1), own)
}

// Each mark is that of the event as the feed reads it.
func TestPosition_AnchorIsAsInGo(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	l := follow(t, open(t, c))
	for i, values := range []string{
		`now(), 'issueUpdate', 'save', 'key'`,
		`'2026-01-02 03:04:05.678901Z', NULL, NULL, NULL`,
		`'infinity', '', '', ''`,
		`'-infinity', 'ü', '漢字', 'a b'`,
		`'294276-12-31 23:59:59.999999Z', 't', 'a', 'k'`,
		`'294246-12-31 23:59:59.5Z', 't', 'a', 'k'`,
		`'4714-11-24 00:00:00Z BC', 't', 'a', 'k'`,
		`'1969-12-31 23:59:59.999999Z', 't', 'a', 'k'`,
	} {
		exec(t, conn, `INSERT INTO notifier.events (created_at, type, action, key) VALUES (`+values+`)`)
		l.waitFor(t, i+1)
		if got, want := cursorHere(t, conn).Anchor, notifier.AnchorOf(l.seen()[i]); got != want {
			t.Errorf("of (%s): %+v, want %+v", values, got, want)
		}
	}
}

// If the newest events are gone, the position must not fall behind the floor of
// retention.
func TestPosition_OfAnEmptiedLog(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url, Retention: time.Hour})
	follow(t, d)
	early := cursorHere(t, conn)
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('a')`)
	before := cursorHere(t, conn)
	backdate(t, conn, `2 hours`)
	if removed := retain(t, d); removed != 1 {
		t.Fatalf("removed %d", removed)
	}
	after := cursorHere(t, conn)
	if !after.Point.To.Includes(before.Point.To) || after.Anchor.ID != 0 {
		t.Errorf("the position fell from %v to %v, at %+v", before.Point.To, after.Point.To, after.Anchor)
	}
	wantResumable(t, d, "taken when it was empty", after, true)
	wantResumable(t, d, "from before", early, false)
}

func TestPosition_RefusesAStandby(t *testing.T) {
	t.Parallel()
	primary := dbtest.NewCluster(t)
	conn := dbtest.Connect(t, primary.Replica(t).URL(""))
	var text string
	err := conn.QueryRow(t.Context(), `SELECT notifier.position()`).Scan(&text)
	if err == nil || !strings.Contains(err.Error(), "a standby has no position") {
		t.Errorf("got %q, %v", text, err)
	}
}

// pageLoad reads a page and the cursor that belongs to it, while somebody
// commits in the middle of the statement.
const pageLoad = `
	SELECT
		ARRAY(SELECT n FROM items ORDER BY n),
		pg_advisory_xact_lock_shared(7)::text,
		%s`

// A page that is loaded with its position and followed from there shows each
// change once. The same function, VOLATILE, has a later snapshot than the page:
// that loses what was committed in between.
func TestPosition_PageLoadWithoutGapOrOverlap(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, reader, gate := dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, `CREATE TABLE items (n int)`)
	exec(t, conn, `CREATE FUNCTION publish_item() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM notifier.publish('item', key => NEW.n::text); RETURN NULL; END $$`)
	exec(t, conn, `CREATE TRIGGER publish_item AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION publish_item()`)
	exec(t, conn, strings.NewReplacer(`notifier."position"()`, "volatile_position()", " STABLE", " VOLATILE").Replace(
		scalar[string](t, conn, `SELECT pg_get_functiondef('notifier.position'::regproc)`)))
	for i, c := range []struct {
		function string
		want     string
	}{
		{"notifier.position()", "[1]"},
		{"volatile_position()", "[]"},
	} {
		exec(t, conn, `TRUNCATE items`)
		exec(t, gate, `SELECT pg_advisory_lock(7)`)
		var page []int
		var text string
		loaded := make(chan error, 1)
		go func() { // ends when the gate opens
			loaded <- reader.QueryRow(t.Context(), fmt.Sprintf(pageLoad, c.function)).Scan(&page, nil, &text)
		}()
		dbtest.Eventually(t, "the page is being loaded", func() bool {
			return scalar[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
		})
		exec(t, conn, `INSERT INTO items VALUES (1)`)
		exec(t, gate, `SELECT pg_advisory_unlock(7)`)
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		at := parsed(t, conn, text).Point
		got := []string{}
		for _, e := range storedEvents(t, conn)[i:] {
			if !at.Covers(e) {
				got = append(got, e.Key)
			}
		}
		if len(page) != 0 || fmt.Sprint(got) != c.want {
			t.Errorf("%s: the page has %v, and %v come after it, want none and %s", c.function, page, got, c.want)
		}
	}
}

// storedEvents returns all events in the order of their ids.
func storedEvents(t *testing.T, conn *pgx.Conn) []*notifier.Event {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT id, txid, key FROM notifier.events ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*notifier.Event, error) {
		e := &notifier.Event{}
		return e, row.Scan(&e.ID, &e.TxID, &e.Key)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Writers of all kinds commit while pages are loaded in all kinds of snapshots:
// what a page shows is what its cursor covers, to the row.
func TestPosition_WhileOthersWrite(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for range 4 {
		own := dbtest.Connect(t, url)
		writers.Go(func() { // ends with stop
			for ctx.Err() == nil {
				writeSomehow(ctx, own)
			}
		})
	}
	type load struct {
		ids    []int64
		cursor notifier.Cursor
	}
	var loads []load
	for i := range 300 {
		begin := []string{`BEGIN`, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `BEGIN ISOLATION LEVEL SERIALIZABLE`}[i%3]
		exec(t, conn, begin)
		if i%4 == 1 {
			exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('own')`)
		}
		if i%8 == 1 {
			exec(t, conn, `SAVEPOINT s`)
			exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('own')`)
		}
		var l load
		var text string
		err := conn.QueryRow(t.Context(), `
			SELECT notifier.position(), ARRAY(
				SELECT id
				FROM notifier.events
				WHERE txid <> coalesce(pg_current_xact_id_if_assigned(), '0')
				ORDER BY id)`).Scan(&text, &l.ids)
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, []string{`COMMIT`, `ROLLBACK`}[rand.N(2)])
		l.cursor = parsed(t, conn, text)
		loads = append(loads, l)
	}
	stop()
	writers.Wait()
	all := storedEvents(t, dbtest.Connect(t, url))
	inProgress := 0
	for i, l := range loads {
		var covered []int64
		for _, e := range all {
			if l.cursor.Point.Covers(e) {
				covered = append(covered, e.ID)
			}
		}
		if !slices.Equal(covered, l.ids) {
			t.Fatalf("load %d: %v covers %d events, the page has %d", i, l.cursor.Point.To, len(covered), len(l.ids))
		}
		inProgress += len(l.cursor.Point.To.InProgress())
	}
	if inProgress == 0 {
		t.Error("never was anything in progress: little is shown")
	}
}

// writeSomehow runs a transaction. It ignores that it is broken off at the end.
func writeSomehow(ctx context.Context, conn *pgx.Conn) {
	_, _ = conn.Exec(ctx, `BEGIN`)
	for range 1 + rand.N(3) {
		_, _ = conn.Exec(ctx, []string{
			`INSERT INTO notifier.events (key) VALUES ('a')`,
			`INSERT INTO notifier.events (key) SELECT 'b' FROM generate_series(1, 3)`,
			`DO $$ BEGIN INSERT INTO notifier.events (key) VALUES ('c'); EXCEPTION WHEN division_by_zero THEN NULL; END $$`,
			`SAVEPOINT s; INSERT INTO notifier.events (key) VALUES ('d'); ROLLBACK TO s`,
		}[rand.N(4)])
	}
	_, _ = conn.Exec(ctx, []string{`COMMIT`, `COMMIT`, `ROLLBACK`}[rand.N(3)])
}
