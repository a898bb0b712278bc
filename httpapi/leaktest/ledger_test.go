package leaktest

import (
	"context"
	"sort"
	"sync"
	"testing"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// bit is one of the conditions that must all hold for a user to read an event:
// "user u" exists and is enabled, "free u" is not blocked, "perm u d" has a
// permission, "type t" is not closed to everybody. Each is changed by one writer
// at a time, so the order of its changes is known.
type bit string

func userBit(user string) bit          { return bit("user " + user) }
func freeBit(user string) bit          { return bit("free " + user) }
func permBit(user, dataset string) bit { return bit("perm " + user + " " + dataset) }
func typeBit(eventType string) bit     { return bit("type " + eventType) }

// moment is a time of the machine's clock in microseconds. The server and the
// test read the same clock.
type moment int64

func now() moment { return moment(time.Now().UnixMicro()) }

// commit is when a transaction became visible: not before its commit timestamp,
// which the server takes before it makes it visible, and not after the client
// heard that it was committed. Of two transactions the order is certain only if
// these spans lie apart.
type commit struct {
	txid         uint64
	stamp, heard moment
}

func (c *commit) before(d *commit) bool { return c.heard < d.stamp }

// change is what one transaction has made of a bit.
type change struct {
	*commit
	on bool
}

// event is an application event of the log.
type event struct {
	*commit
	id        int64
	created   time.Time
	eventType string
	dataset   *string
	recipient *string
	name      string
	unordered bool // its row says that it has no place among the changes
}

// bits are those that decide whether a user may read the event.
func (e *event) bits(user string) []bit {
	all := []bit{userBit(user), freeBit(user), typeBit(e.eventType)}
	if e.dataset != nil {
		all = append(all, permBit(user, *e.dataset))
	}
	return all
}

func (e *event) addressedTo(user string) bool { return e.recipient == nil || *e.recipient == user }

// ledger is what the writers have done, in the order they did it.
type ledger struct {
	mu      sync.Mutex
	commits map[uint64]*commit
	changes map[bit][]change
	counts  map[string]int
}

func newLedger() *ledger {
	return &ledger{commits: map[uint64]*commit{}, changes: map[bit][]change{}, counts: map[string]int{}}
}

func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// transact runs a transaction and enters it. do returns the bits that it sets.
func (l *ledger) transact(ctx context.Context, conn *pgx.Conn, level pgx.TxIsoLevel, do func(pgx.Tx) (map[bit]bool, error)) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return err
	}
	c := &commit{}
	sets, err := do(tx)
	if err == nil {
		err = tx.QueryRow(ctx, `SELECT pg_current_xact_id()`).Scan(&c.txid)
	}
	if err != nil {
		_ = tx.Rollback(ctx)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	l.enter(c, sets)
	return nil
}

// enter notes a transaction that has just been committed.
func (l *ledger) enter(c *commit, sets map[bit]bool) {
	c.heard = now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits[c.txid] = c
	for b, on := range sets {
		l.changes[b] = append(l.changes[b], change{c, on})
	}
}

// truth is the ledger beside what the database recorded.
type truth struct {
	*ledger
	events map[int64]*event
	byName map[string]*event
}

const readStamps = `
SELECT DISTINCT txid, (extract(epoch FROM pg_xact_commit_timestamp(txid::xid)) * 1000000)::bigint
FROM notifier.events`

const readEvents = `
SELECT id, txid, created_at, type, dataset_id, recipient, coalesce(principal, ''), rings IS FALSE
FROM notifier.events
WHERE control IS NULL`

func readTruth(t *testing.T, conn *pgx.Conn, l *ledger) *truth {
	t.Helper()
	rows, err := conn.Query(t.Context(), readStamps)
	if err != nil {
		t.Fatal(err)
	}
	var txid uint64
	var stamp int64
	_, err = pgx.ForEachRow(rows, []any{&txid, &stamp}, func() error {
		if c := l.commits[txid]; c != nil {
			c.stamp = moment(stamp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &truth{ledger: l, events: map[int64]*event{}, byName: map[string]*event{}}
	if rows, err = conn.Query(t.Context(), readEvents); err != nil {
		t.Fatal(err)
	}
	var e event
	_, err = pgx.ForEachRow(rows, []any{&e.id, &txid, &e.created, &e.eventType, &e.dataset, &e.recipient, &e.name, &e.unordered}, func() error {
		one := e
		if one.commit = l.commits[txid]; one.commit != nil { // not a mark of the test
			r.events[one.id], r.byName[one.name] = &one, &one
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for b, changes := range l.changes {
		for _, c := range changes {
			if c.stamp == 0 || c.stamp > c.heard {
				t.Fatalf("%s: transaction %d has the timestamp %d and was heard of at %d", b, c.txid, c.stamp, c.heard)
			}
		}
	}
	return r
}

// at returns what a bit was when an event was committed, if that is certain, and
// the changes that certainly came later.
func (r *truth) at(b bit, e *event) (on, certain bool, later []change) {
	changes := r.changes[b]
	before := sort.Search(len(changes), func(i int) bool { return !changes[i].before(e.commit) })
	if before < len(changes) && changes[before].txid == e.txid {
		before++
	}
	later = changes[before:]
	if len(later) > 0 && !e.commit.before(later[0].commit) {
		return false, false, nil // at the same time, as far as anybody can tell
	}
	return before > 0 && changes[before-1].on, true, later
}

// forbidden returns a bit that was certainly off when the event was committed.
func (r *truth) forbidden(user string, e *event) (b bit, yes bool) {
	for _, b := range e.bits(user) {
		if on, certain, _ := r.at(b, e); certain && !on {
			return b, true
		}
	}
	return "", false
}

// readable reports whether the user could certainly read the event from its
// commit to a moment, without a break.
func (r *truth) readable(user string, e *event, until moment) bool {
	for _, b := range e.bits(user) {
		on, certain, later := r.at(b, e)
		if !certain || !on {
			return false
		}
		for _, c := range later {
			if c.stamp > until {
				break
			}
			if !c.on {
				return false
			}
		}
	}
	return true
}

// wantedBy reports whether an event is for a user and a filter.
func (e *event) wantedBy(user string, f notifier.Filter) bool {
	return e.addressedTo(user) && f.Matches(&notifier.Event{
		Type: e.eventType, CreatedAt: e.created, Recipient: e.recipient, DatasetID: e.dataset,
	})
}
