package db

import (
	"context"
	"fmt"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// identity is what makes one life of a log.
type identity struct {
	history  notifier.History // the name of the rest
	system   int64
	timeline int64
	database uint32
	events   uint32 // the table
}

// sameLog reports whether both are lives of one log: whether at most the timeline
// is another.
func (i identity) sameLog(other identity) bool {
	return i.system == other.system && i.database == other.database && i.events == other.events
}

const identitySQL = `-- name: identity
SELECT history, system_identifier, timeline, database_id, events_id
FROM notifier.identity()`

func readIdentity(ctx context.Context, conn *pgx.Conn) (i identity, err error) {
	var history []byte
	err = conn.QueryRow(ctx, identitySQL).Scan(&history, &i.system, &i.timeline, &i.database, &i.events)
	copy(i.history[:], history)
	return i, wrap("find out whose log it is", err)
}

const beginningSQL = `-- name: beginning
SELECT history, position::text, coalesce(anchor_id, 0), coalesce(anchor_txid, '0'), coalesce(anchor_mark, '')
FROM notifier.beginning()`

// beginning returns where a reader begins that has not read anything: behind all
// that had ended by now.
func beginning(ctx context.Context, conn *pgx.Conn) (b notifier.Beginning, err error) {
	var history, mark []byte
	var position string
	err = conn.QueryRow(ctx, beginningSQL).Scan(&history, &position, &b.Anchor.ID, &b.Anchor.TxID, &mark)
	if err != nil {
		return b, fmt.Errorf("find the present position: %w", err)
	}
	copy(b.History[:], history)
	copy(b.Anchor.Mark[:], mark)
	b.Position, err = notifier.ParsePosition(position)
	return b, err
}

// adopt makes rows that came with a dump part of this log, if there are any, and
// notes whose log it is. It must have been done before anything goes by
// transaction ids. Several instances share the work.
func (d *DB) adopt(ctx context.Context, conn *pgx.Conn) error {
	var after uint64
	for total := 0; ; {
		part, done, err := adoptSome(ctx, conn, &after)
		if err != nil {
			return fmt.Errorf("adopt restored events: %w", err)
		}
		total += part
		if done {
			if total > 0 {
				d.config.Logger.Warn("restored events are now part of this log: they are neither delivered nor hidden", "count", total)
			}
			return nil
		}
		if total == part {
			d.config.Logger.Warn("the events were restored from elsewhere; live delivery begins when they are part of this log")
		}
	}
}

func adoptSome(ctx context.Context, conn *pgx.Conn, after *uint64) (count int, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, `-- name: adopt
		SELECT after, restamped, done
		FROM notifier.adopt($1)`, *after).Scan(after, &count, &done)
	return count, done, err
}

// recentEvents is how many events a feed remembers, to find out after a
// reconnect whether the log still has them. What a crash or a failover takes back
// is what was committed last; in what order that was read, batches tell.
const recentEvents = 4096

// recent is what a feed has read lately. Its zero value is nothing.
type recent struct {
	anchors []notifier.Anchor // a ring
	next    int
	largest notifier.Anchor // the event of largest transaction id
}

func (r *recent) add(a notifier.Anchor) {
	if a.TxID >= r.largest.TxID {
		r.largest = a
	}
	if len(r.anchors) < recentEvents {
		r.anchors = append(r.anchors, a)
		return
	}
	r.anchors[r.next] = a
	r.next = (r.next + 1) % recentEvents
}

// missing counts those of the events that are gone although retention has not
// come to them.
func (r *recent) missing(ctx context.Context, conn *pgx.Conn) (int, error) {
	a := anchorLists(append([]notifier.Anchor{r.largest}, r.anchors...))
	var count int
	err := conn.QueryRow(ctx, `-- name: missing_events
		SELECT count(DISTINCT id)
		FROM unnest($1::bigint[], $2::xid8[], $3::bytea[]) AS wanted (id, txid, mark)
		WHERE id <> 0
			AND NOT `+anchorIsThere+`
			AND NOT coalesce(pg_visible_in_snapshot(txid, `+floorSQL+`), false)`,
		a.ids, a.txIDs, a.marks).Scan(&count)
	return count, wrap("look for events that were read", err)
}

// anchorIsThere tells of a wanted anchor whether its event is still there, by a
// look-up of its own: any other plan would read the table.
const anchorIsThere = `coalesce((
		SELECT e.txid = wanted.txid
			AND notifier.anchor_mark(e.id, e.txid, e.created_at, e.type, e.action, e.key) = wanted.mark
		FROM notifier.events AS e
		WHERE e.id = wanted.id), false)`

// floorSQL is the position from which on retention has removed nothing.
const floorSQL = `(SELECT position FROM notifier.positions ORDER BY taken_at LIMIT 1)`

// anchorArrays are anchors in the form that statements take.
type anchorArrays struct {
	ids   []int64
	txIDs []uint64
	marks [][]byte
}

func anchorLists(anchors []notifier.Anchor) anchorArrays {
	a := anchorArrays{make([]int64, len(anchors)), make([]uint64, len(anchors)), make([][]byte, len(anchors))}
	for i := range anchors {
		a.ids[i], a.txIDs[i], a.marks[i] = anchors[i].ID, anchors[i].TxID, anchors[i].Mark[:]
	}
	return a
}

// recordContinuation notes, for all instances, that up to a position nothing of a
// history was lost on the way to the present one. Of what two instances note, the
// later counts.
func recordContinuation(ctx context.Context, conn *pgx.Conn, of notifier.History, upTo notifier.Position) error {
	_, err := conn.Exec(ctx, `-- name: record_continuation
		UPDATE notifier.histories
		SET up_to = $2::text::pg_snapshot
		WHERE history = $1
			AND (up_to IS NULL
				OR pg_snapshot_xmax(up_to) < pg_snapshot_xmax($2::text::pg_snapshot)
				OR pg_snapshot_xmax(up_to) = pg_snapshot_xmax($2::text::pg_snapshot)
					AND pg_snapshot_xmin(up_to) < pg_snapshot_xmin($2::text::pg_snapshot))`,
		of[:], upTo.String())
	return wrap("record that history goes on", err)
}
