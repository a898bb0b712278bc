package leaktest

import (
	"fmt"
	"sync"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// stalling is a policy that looks at the permissions and then, before it
// answers about the user a, waits for a lock that a test may hold.
const stalling = `
CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	allowed CONSTANT boolean := EXISTS (
		SELECT
		FROM notifier.dataset_permissions p
		WHERE p.user_id = may_read.user_id
			AND p.dataset_id = may_read.dataset_id);
BEGIN
	IF may_read.user_id = 'a' THEN
		PERFORM pg_advisory_xact_lock_shared(42);
	END IF;
	RETURN allowed OR may_read.dataset_id IS NULL;
END
$$;`

const twoUsers = `
INSERT INTO notifier.users (user_id) VALUES ('a'), ('b');
INSERT INTO notifier.dataset_permissions VALUES ('a', 'd'), ('b', 'd'), ('a', 'e')`

// bench is an instance on a database of its own with two users.
type bench struct {
	*instance
	t    *testing.T
	conn *pgx.Conn
	lock *pgx.Conn // for the stall
}

func newBench(t *testing.T, more string, adjust ...func(*instance)) *bench {
	t.Helper()
	url := dbtest.New(t)
	b := &bench{t: t, conn: dbtest.Connect(t, url), lock: dbtest.Connect(t, url)}
	exec(t, b.conn, twoUsers+";"+more)
	b.instance = start(t, db.Config{URL: url}, adjust...)
	return b
}

// stall makes the policy stop before its answers, until resume is called.
func (b *bench) stall() (resume func()) {
	b.t.Helper()
	exec(b.t, b.lock, `SELECT pg_advisory_lock(42)`)
	return func() {
		b.t.Helper()
		exec(b.t, b.lock, `SELECT pg_advisory_unlock(42)`)
	}
}

// inFlight waits until a statement of that name waits in the policy.
func (b *bench) inFlight(name string) {
	b.t.Helper()
	b.stalled("-- name: " + name)
}

// stalled waits until a statement that begins so waits in the stall.
func (b *bench) stalled(query string) {
	b.t.Helper()
	dbtest.Eventually(b.t, query+" is in flight", func() bool {
		return scalar[bool](b.t, b.lock, `SELECT EXISTS (
			SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event = 'advisory' AND query LIKE $1)`, query+"%")
	})
}

// publish commits an event of a dataset and returns its id.
func (b *bench) publish(conn *pgx.Conn, dataset, recipient string) int64 {
	b.t.Helper()
	return scalar[int64](b.t, conn, `
		INSERT INTO notifier.events (type, key, dataset_id, recipient, payload)
		VALUES ('datasetUpdate', $1, $1, nullif($2, ''), '"x"')
		RETURNING id`, dataset, recipient)
}

func (b *bench) revoke() {
	b.t.Helper()
	exec(b.t, b.conn, `DELETE FROM notifier.dataset_permissions WHERE user_id = 'a' AND dataset_id = 'd'`)
}

func (b *bench) grant() {
	b.t.Helper()
	exec(b.t, b.conn, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
}

// want compares what a subscriber got, of the test's events.
func (b *bench) want(who string, box *inbox, want ...int64) {
	b.t.Helper()
	if diff := cmp.Diff(append([]int64{}, want...), append([]int64{}, box.received()...)); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", who, diff)
	}
}

// The first race: a verdict that was asked for before a revocation comes back
// after the hub has published it. Here a replay asks.
func TestRace_VerdictOfAReplayInFlight(t *testing.T) {
	t.Parallel()
	b := newBench(t, stalling)
	stored := b.publish(b.conn, "d", "a")
	b.passed(t, b.conn)
	user := "a"
	box, _, sub, point, err := b.subscribe(t.Context(), user, notifier.Filter{Recipient: &user})
	if err != nil {
		t.Fatal(err)
	}
	resume := b.stall()
	var wg sync.WaitGroup
	var shown []int64
	wg.Go(func() { // ends when the policy has answered
		err := b.db.Replay(t.Context(), []notifier.Filter{{Recipient: &user}}, point, func(events []*notifier.Event) error {
			readable, err := b.Readable(t.Context(), sub, events)
			for _, e := range readable {
				shown = append(shown, e.ID)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	b.inFlight("ask")
	b.revoke()
	b.passed(t, b.conn)
	resume()
	wg.Wait()
	if len(shown) > 0 {
		t.Errorf("after the revocation, replay shows %v of %d", shown, stored)
	}
	b.publish(b.conn, "d", "a")
	b.passed(t, b.conn)
	b.want("live", box)
}

// The same with the question of a live event. What was committed before the
// revocation may come, what was after it must not, and the answer must not
// stay.
func TestRace_VerdictOfALiveEventInFlight(t *testing.T) {
	t.Parallel()
	b := newBench(t, stalling)
	box, other := b.watch(t, "a", false), b.watch(t, "b", false)
	resume := b.stall()
	first := b.publish(b.conn, "d", "")
	b.inFlight("ask")
	b.revoke()
	second := b.publish(b.conn, "d", "")
	resume()
	third := b.publish(b.conn, "d", "")
	b.passed(t, b.conn)
	b.want("who lost access", box, first)
	b.want("who kept it", other, first, second, third)
}

// The second race: the policy admits a subscription, and before it joins the hub
// a revocation is committed and published.
func TestRace_AdmissionInFlight(t *testing.T) {
	t.Parallel()
	b := newBench(t, stalling)
	ws, err := dial(t.Context(), b.serve(t), "/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	resume := b.stall()
	if err := ws.Write(t.Context(), websocket.MessageText, attachment("attach", "a", "d")); err != nil {
		t.Fatal(err)
	}
	b.inFlight("admit")
	b.revoke()
	b.passed(t, b.conn)
	resume()
	b.publish(b.conn, "d", "")
	if m, err := readAirlay(t.Context(), ws); err != nil || m.Code != 4 {
		t.Errorf("attaching is answered with %+v, %v", m, err)
	}
	b.passed(t, b.conn)
	if err := ws.Write(t.Context(), websocket.MessageText, attachment("attach", "a", "e")); err != nil {
		t.Fatal(err)
	}
	if m, err := readAirlay(t.Context(), ws); err != nil || m.Status != 200 {
		t.Errorf("the next message is not the next answer: %+v, %v", m, err)
	}
}

// A revocation ends an attached client's subscription, with one message, before
// the next event.
func TestRevocation_EndsTheSubscription(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	ws, err := dial(t.Context(), b.serve(t), "/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	var got []string
	read := func() {
		t.Helper()
		_, text, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	attach := func() {
		t.Helper()
		if err := ws.Write(t.Context(), websocket.MessageText, attachment("attach", "a", "d")); err != nil {
			t.Fatal(err)
		}
		read()
	}
	attach()
	b.publish(b.conn, "d", "")
	read()
	b.revoke()
	b.publish(b.conn, "d", "")
	read()
	attach()
	b.grant()
	b.publish(b.conn, "d", "") // nobody is attached
	b.passed(t, b.conn)
	attach()
	b.publish(b.conn, "d", "")
	read()
	const ok, lost, event = `{"status":200,"message":"Ok","code":0}`, `{"status":400,"message":"Not access for dataset","code":4}`,
		`{"type":"datasetUpdate","id":"d","data":["x"]}`
	if diff := cmp.Diff([]string{ok, event, lost, lost, ok, event}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRevocation_AndEventInOneTransaction(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"event first", "revocation first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "")
			box, other := b.watch(t, "a", false), b.watch(t, "b", false)
			first := b.publish(b.conn, "d", "")
			b.passed(t, b.conn)
			var second int64
			exec(t, b.conn, `BEGIN`)
			if order == "event first" {
				second = b.publish(b.conn, "d", "")
			}
			b.revoke()
			if order != "event first" {
				second = b.publish(b.conn, "d", "")
			}
			exec(t, b.conn, `COMMIT`)
			b.passed(t, b.conn)
			b.want("who lost access", box, first)
			b.want("who kept it", other, first, second)
		})
	}
}

// gate keeps a feed from going on, so that what is committed meanwhile is read
// in one batch.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside chan struct{}
	leave  chan struct{}
}

func newGate() *gate { return &gate{inside: make(chan struct{}), leave: make(chan struct{})} }

// wait is the instance's.
func (g *gate) wait(notifier.Page) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		g.inside <- struct{}{}
		<-g.leave
	}
}

// inOneBatch has everything that do commits read in one batch, and returns that
// batch.
func (b *bench) inOneBatch(g *gate, do func()) *batch {
	b.t.Helper()
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	exec(b.t, b.conn, `SELECT notifier.publish('mark', recipient => '')`)
	<-g.inside
	g.mu.Lock()
	g.closed = false
	g.mu.Unlock()
	before := len(b.batches())
	do()
	g.leave <- struct{}{}
	b.passed(b.t, b.conn)
	return b.batches()[before+1] // after that of the mark
}

// wantChanges checks that a batch was what the test is about.
func (b *bench) wantChanges(of *batch, events, changes int) {
	b.t.Helper()
	count := 0
	for _, p := range of.pages {
		for _, e := range p.Events {
			if e.Type == "datasetUpdate" {
				count++
			}
		}
	}
	if count != events || len(of.controls) != changes {
		b.t.Fatalf("the batch has %d events and %d changes, not %d and %d: nothing is shown", count, len(of.controls), events, changes)
	}
}

func TestRevocation_AndEventsInOneBatch(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := newBench(t, "", func(i *instance) { i.gate = g.wait })
	box, other := b.watch(t, "a", false), b.watch(t, "b", false)
	var id [2]int64
	of := b.inOneBatch(g, func() {
		id[0] = b.publish(b.conn, "d", "")
		b.revoke()
		id[1] = b.publish(b.conn, "d", "")
	})
	b.wantChanges(of, 2, 1)
	b.want("who lost access", box)
	b.want("who kept it", other, id[:]...)
}

// Taken and given back, twice: what fell between is withheld, and nothing else.
func TestRevocation_GrantAndEventsInOneBatch(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := newBench(t, "", func(i *instance) { i.gate = g.wait })
	box, other := b.watch(t, "a", false), b.watch(t, "b", false)
	var id [5]int64
	of := b.inOneBatch(g, func() {
		id[0] = b.publish(b.conn, "d", "")
		b.revoke()
		id[1] = b.publish(b.conn, "d", "")
		b.grant()
		id[2] = b.publish(b.conn, "d", "")
		b.revoke()
		id[3] = b.publish(b.conn, "d", "")
		b.grant()
		id[4] = b.publish(b.conn, "d", "")
	})
	b.wantChanges(of, 5, 4)
	b.want("who lost access and has it again", box, id[0], id[2], id[4])
	b.want("who kept it", other, id[:]...)
}

// Before a grant that shares the batch with an event, access was missing: it was
// revoked in an earlier batch.
func TestRevocation_OfAnEarlierBatch(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			t.Parallel()
			g := newGate()
			b := newBench(t, "", func(i *instance) { i.gate = g.wait })
			box := b.watch(t, "a", false)
			b.revoke()
			if known {
				b.publish(b.conn, "d", "")
			}
			b.passed(t, b.conn)
			var id [2]int64
			of := b.inOneBatch(g, func() {
				id[0] = b.publish(b.conn, "d", "")
				b.grant()
				id[1] = b.publish(b.conn, "d", "")
			})
			b.wantChanges(of, 2, 1)
			b.want("who is granted it", box, id[1])
		})
	}
}

// An event's row may be older than the revocation's and be committed later.
func TestRevocation_OlderThanTheEventsRow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		oneBatch, back bool
	}{{"in two batches", false, false}, {"in one batch", true, false}, {"in one batch with a grant", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			b := newBench(t, "", func(i *instance) { i.gate = g.wait })
			box, other := b.watch(t, "a", false), b.watch(t, "b", false)
			first := b.publish(b.conn, "d", "")
			b.passed(t, b.conn)
			exec(t, b.lock, `BEGIN`)
			old := b.publish(b.lock, "d", "")
			events, changes := 0, 1
			step := func() { b.passed(t, b.conn) }
			if c.oneBatch {
				events, step = 1, func() {}
			}
			do := func() {
				b.revoke()
				step()
				exec(t, b.lock, `COMMIT`)
				if c.back {
					b.grant()
					changes++
				}
			}
			if c.oneBatch {
				b.wantChanges(b.inOneBatch(g, do), events, changes)
			} else {
				do()
			}
			b.passed(t, b.conn)
			b.want("who lost access", box, first)
			b.want("who kept it", other, first, old)
		})
	}
}

// The revocation is on a later page of its batch than events that were committed
// after it.
func TestRevocation_OnALaterPage(t *testing.T) {
	t.Parallel()
	g := newGate()
	b := newBench(t, "", func(i *instance) { i.gate = g.wait })
	box, other := b.watch(t, "a", false), b.watch(t, "b", false)
	first := b.publish(b.conn, "d", "")
	b.passed(t, b.conn)
	const many = 2500
	of := b.inOneBatch(g, func() {
		exec(t, b.lock, `BEGIN`)
		exec(t, b.lock, `INSERT INTO notifier.events (type, key, dataset_id)
			SELECT 'datasetUpdate', 'd', 'd' FROM generate_series(1, $1)`, many)
		b.revoke()
		exec(t, b.lock, `COMMIT`)
	})
	b.wantChanges(of, many, 1)
	if n := len(of.pages); n < 3 || of.pages[0].Events[0].Control != "" || len(of.pages[0].Controls) != 1 {
		t.Errorf("%d pages, the first with %d changes", n, len(of.pages[0].Controls))
	}
	b.want("who lost access", box, first)
	if got := len(other.received()); got != many+1 {
		t.Errorf("who kept it got %d events", got)
	}
}

// The policy is asked later than the batch was read, here because it failed for
// a while. A grant of that time is not one of the batch's time.
func TestGrant_BetweenTheBatchAndTheAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	box := b.watch(t, "a", false)
	b.revoke()
	b.passed(t, b.conn)
	exec(t, b.conn, `ALTER FUNCTION notifier.may_read RENAME TO may_not_be_found`)
	withheld := b.publish(b.conn, "d", "")
	dbtest.Eventually(t, "the event waits for the policy", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		last := b.pages[len(b.pages)-1]
		return last.done.IsZero() && len(last.Events) > 0 && last.Events[0].ID == withheld
	})
	b.grant()
	exec(t, b.conn, `ALTER FUNCTION notifier.may_not_be_found RENAME TO may_read`)
	allowed := b.publish(b.conn, "d", "")
	b.passed(t, b.conn)
	b.want("who was granted it later", box, allowed)
}

// A VOLATILE function, which is what one is that does not say, sees what is
// committed while it runs, also if nothing else had been when it was asked.
func TestGrant_WhileAVolatilePolicyIsAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t, `
		CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
		LANGUAGE plpgsql VOLATILE AS $$
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(42);
			RETURN EXISTS (
				SELECT
				FROM notifier.dataset_permissions p
				WHERE p.user_id = may_read.user_id
					AND p.dataset_id = may_read.dataset_id);
		END $$`)
	box := b.watch(t, "a", false)
	b.revoke()
	b.passed(t, b.conn)
	resume := b.stall()
	b.publish(b.conn, "d", "")
	b.inFlight("ask")
	b.grant()
	resume()
	allowed := b.publish(b.conn, "d", "")
	b.passed(t, b.conn)
	b.want("who was granted it after the event", box, allowed)
}
