package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/notifier/notifier"
)

// resumeTogether bounds the cursors that one statement is asked about.
const resumeTogether = 1000

var errBetweenHistories = errors.New("the feed has not come to the database's present history yet")

// resuming gathers those who want to know whether they can resume, so that a
// thousand clients that reconnect at once are a few statements.
type resuming struct {
	mu      sync.Mutex
	waiting []*resumption
	asking  bool // somebody takes care of those who wait
	asked   int  // statements, so far
	working sync.WaitGroup
}

// resumption is the question of one cursor. good and err are its answer, once it
// is answered.
type resumption struct {
	cursor   notifier.Cursor
	left     atomic.Bool // nobody waits for the answer any more
	answered chan struct{}
	good     bool
	err      error
}

// Resumable reports whether a reader that goes on at a cursor misses nothing. It
// does not if retention has removed what comes next, or if the cursor is of
// another history, or of a part of it that is lost. An error means that this is
// not known now.
//
// The answer is of this moment: retention goes on. Who reads events from the
// cursor on asks again when they are read, and then knows that none was missing.
func (d *DB) Resumable(ctx context.Context, c notifier.Cursor) (bool, error) {
	q := &resumption{cursor: c, answered: make(chan struct{})}
	d.resuming.add(q, d.answerResumptions)
	select {
	case <-q.answered:
		return q.good, q.err
	case <-ctx.Done():
		q.left.Store(true)
		return false, context.Cause(ctx)
	}
}

// add queues a question and sees to it that somebody is at work.
func (r *resuming) add(q *resumption, work func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, q)
	if !r.asking {
		r.asking = true
		r.working.Go(work) // ends when nobody waits any more; Close waits for it
	}
}

// take returns the questions for the next statement; with none left, the work is
// over.
func (r *resuming) take() []*resumption {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch []*resumption
	for len(r.waiting) > 0 && len(batch) < resumeTogether {
		if q := r.waiting[0]; !q.left.Load() {
			batch = append(batch, q)
		}
		r.waiting = r.waiting[1:]
	}
	if len(batch) == 0 {
		r.waiting, r.asking = nil, false
		return nil
	}
	r.asked++
	return batch
}

func (d *DB) answerResumptions() {
	for {
		batch := d.resuming.take()
		if len(batch) == 0 {
			return
		}
		err := d.judge(batch)
		for _, q := range batch {
			q.err = err
			close(q.answered)
		}
	}
}

// judge answers a batch of questions, in the snapshot of one statement: else
// retention could come in between the floor and the anchors.
func (d *DB) judge(batch []*resumption) error {
	following := d.history.Load()
	if following == nil {
		return errNotStarted
	}
	// Not a caller's context: the others wait, too.
	ctx, cancel := context.WithTimeout(context.Background(), pulseTimeout)
	defer cancel()
	anchors := make([]notifier.Anchor, len(batch))
	for i, q := range batch {
		anchors[i] = q.cursor.Anchor
	}
	log, there, err := d.readLogState(ctx, anchors)
	if err != nil {
		return err
	}
	if log.history != *following {
		return errBetweenHistories
	}
	for i, q := range batch {
		q.good = log.resumable(q.cursor, there[i])
	}
	return nil
}

// logState is what cursors are judged by.
type logState struct {
	history notifier.History
	now     notifier.Position
	floor   notifier.Position // nothing after it was removed
	// continued says up to where earlier histories have become the present one.
	continued map[notifier.History]notifier.Position
}

// resumable reports whether nothing is missing after a cursor, and nothing of
// what it has is lost; there says whether its anchor is in the log.
func (s *logState) resumable(c notifier.Cursor, there bool) bool {
	if c.History != s.history {
		upTo, ok := s.continued[c.History]
		if !ok || !upTo.Includes(c.Point.To) {
			return false
		}
	}
	// What has ended cannot be in progress again, nor still to come: then its id
	// was given out a second time.
	if !s.now.Includes(c.Point.To) || !c.Point.From.Includes(s.floor) {
		return false
	}
	return c.Anchor.ID == 0 || there || s.floor.Ended(c.Anchor.TxID)
}

const logStateSQL = `-- name: log_state
SELECT
	(notifier.identity()).history,
	pg_current_snapshot()::text,
	coalesce(` + floorSQL + `::text, '1:1:'),
	ARRAY(SELECT history FROM notifier.histories WHERE up_to IS NOT NULL ORDER BY history),
	ARRAY(SELECT up_to::text FROM notifier.histories WHERE up_to IS NOT NULL ORDER BY history),
	ARRAY(
		SELECT ` + anchorIsThere + `
		FROM unnest($1::bigint[], $2::xid8[], $3::bytea[]) WITH ORDINALITY AS wanted (id, txid, mark, place)
		ORDER BY place)`

// readLogState returns the state of the log and which of the anchors are there.
func (d *DB) readLogState(ctx context.Context, anchors []notifier.Anchor) (s logState, there []bool, err error) {
	a := anchorLists(anchors)
	var history []byte
	var now, floor string
	var earlier [][]byte
	var upTo []string
	err = d.live.QueryRow(ctx, logStateSQL, a.ids, a.txIDs, a.marks).Scan(&history, &now, &floor, &earlier, &upTo, &there)
	if err != nil {
		return s, nil, fmt.Errorf("read the state of the log: %w", err)
	}
	copy(s.history[:], history)
	s.continued = make(map[notifier.History]notifier.Position, len(earlier))
	for i, text := range upTo {
		var h notifier.History
		copy(h[:], earlier[i])
		if s.continued[h], err = notifier.ParsePosition(text); err != nil {
			return s, nil, err
		}
	}
	if s.now, err = notifier.ParsePosition(now); err == nil {
		s.floor, err = notifier.ParsePosition(floor)
	}
	return s, there, err
}
