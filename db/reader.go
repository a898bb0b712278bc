package db

import (
	"context"
	"fmt"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// reader reads the log exactly, from position to position.
type reader struct {
	db   *DB
	conn *pgx.Conn
	pool *pgxpool.Pool // in place of the connection: each page by whichever is free
}

// spanRows selects the rows of the transactions in ranges, each by an index
// look-up. OFFSET 0 keeps the look-ups apart, and adding nothing to the id keeps
// the planner from walking the primary key instead: both would visit rows of
// transactions that are not asked for.
//
// $3 and $4 are the ranges' first and past-the-end ids, $5 the id read last.
const spanRows = `
	SELECT found.*
	FROM unnest($3::xid8[], $4::xid8[]) AS span(first, past)
	CROSS JOIN LATERAL (
		SELECT *
		FROM notifier.events
		WHERE txid >= span.first
			AND txid < span.past
			AND id + 0 > $5::bigint
		OFFSET 0
	) AS found
	ORDER BY found.id + 0
	LIMIT $6::int`

var (
	readSpan = pageSQL("read_span", spanRows, "id")
	readIDs  = pageSQL("read_ids", `
	SELECT events.*
	FROM unnest($3::bigint[]) AS wanted(id)
	JOIN notifier.events USING (id)`, "id")
)

const listSpan = `-- name: list_span
SELECT found.id
FROM unnest($1::xid8[], $2::xid8[]) AS span(first, past)
CROSS JOIN LATERAL (
	SELECT id
	FROM notifier.events
	WHERE txid >= span.first
		AND txid < span.past
		AND id + 0 > $3::bigint
	OFFSET 0
) AS found
ORDER BY found.id + 0
LIMIT $4::int`

const newestOfSpans = `-- name: newest_of_spans
SELECT newest.txid
FROM unnest($1::xid8[], $2::xid8[]) AS span(first, past)
CROSS JOIN LATERAL (
	SELECT txid
	FROM notifier.events
	WHERE txid >= span.first
		AND txid < span.past
	ORDER BY txid DESC
	LIMIT 1
) AS newest`

// listedIDs is how many ids of a large batch are held at once: 16 MiB. Listing
// them goes through the whole batch, so they should be many: 10^8 events are
// listed 48 times.
const listedIDs = 1 << 21

// listedForOne is the same for one client of many: 512 KiB.
const listedForOne = 1 << 16

// snapshot returns the server's present position, as it is: not lowered.
func snapshot(ctx context.Context, conn *pgx.Conn) (notifier.Position, error) {
	var text string
	err := conn.QueryRow(ctx, `-- name: snapshot
		SELECT pg_current_snapshot()::text`).Scan(&text)
	if err != nil {
		return notifier.Position{}, fmt.Errorf("take a snapshot: %w", err)
	}
	return notifier.ParsePosition(text)
}

// progress is how far a reader has come. Between batches its point's From and
// To are the same.
type progress struct {
	point   notifier.Point
	largest uint64 // the largest transaction id read so far
}

func startAt(p notifier.Position) progress {
	return progress{point: notifier.Point{From: p, To: p}, largest: max(p.Xmax(), 1) - 1}
}

// batch yields the events between the two positions of the progress, in pages,
// and moves the progress on with each, so that after an error the rest can be
// read by another connection. The last page is always yielded, even an empty
// one, unless nothing has changed at all.
func (r *reader) batch(ctx context.Context, at *progress, yield func(notifier.Page) error) error {
	from, to := at.point.From, at.point.To
	b := newBatchReader(r, at.point)
	for {
		p, err := b.next(ctx)
		if err != nil {
			return err
		}
		controls, err := b.controls(ctx, p)
		if err != nil {
			return err
		}
		for _, e := range p.events {
			at.largest = max(at.largest, e.TxID)
		}
		if p.more {
			if to, err = b.lower(ctx, to, at.largest); err != nil {
				return err
			}
			at.point.To, at.point.After = to, b.after
			if err := yield(notifier.Page{From: from, To: to, Events: p.events, Controls: controls}); err != nil {
				return err
			}
			continue
		}
		reached := to.Lowered(at.largest)
		at.point = notifier.Point{From: reached, To: reached}
		if len(p.events) > 0 || b.resumed || b.pages > 1 || !reached.Equal(from) {
			return yield(notifier.Page{From: from, To: reached, Events: p.events, Controls: controls, Last: true})
		}
		return nil
	}
}

// batchReader pages through one batch. Its first page comes straight from the
// index. If that is not all, the batch may be of any size, and finding the next
// page anew would go through all of it each time: so it lists ids, many at once,
// and reads them by primary key.
type batchReader struct {
	*reader
	first, past []uint64
	after       int64   // the id read last
	ids         []int64 // listed and not read yet
	unlisted    bool    // there are more than those
	pages       int
	resumed     bool // the batch was begun by another reader
	lowered     bool // its end is that of its events
}

func newBatchReader(r *reader, at notifier.Point) *batchReader {
	span := notifier.Between(at.From, at.To)
	b := &batchReader{reader: r, after: at.After, resumed: at.After > 0}
	b.first, b.past = bounds(span)
	return b
}

// bounds returns ranges in the form that statements take.
func bounds(span []notifier.TxIDRange) (first, past []uint64) {
	first, past = make([]uint64, len(span)), make([]uint64, len(span))
	for i, ids := range span {
		first[i], past[i] = ids.First, ids.End
	}
	return first, past
}

func (b *batchReader) next(ctx context.Context) (page, error) {
	b.pages++
	if len(b.first) == 0 {
		return page{}, nil
	}
	if b.pages == 1 {
		return b.query(ctx, pageRows, readSpan, b.first, b.past, b.after, pageRows)
	}
	if len(b.ids) == 0 {
		if err := b.list(ctx); err != nil || len(b.ids) == 0 {
			return page{}, err
		}
	}
	n := min(len(b.ids), pageRows)
	p, err := b.query(ctx, n+1, readIDs, b.ids[:n])
	if err != nil {
		return page{}, err
	}
	if !p.more { // all n were read; those that are gone, retention has removed
		b.after = b.ids[n-1]
		b.ids = b.ids[n:]
	} else {
		for len(b.ids) > 0 && b.ids[0] <= b.after {
			b.ids = b.ids[1:]
		}
	}
	p.more = p.more || len(b.ids) > 0 || b.unlisted
	return p, nil
}

// lower returns a batch's end as it will be when all of it is read, for the cursors
// of events before its last page: transactions that wrote none may have ended, too,
// and no reader would ever be known to have come to them in a log that is quiet then.
func (b *batchReader) lower(ctx context.Context, to notifier.Position, largest uint64) (notifier.Position, error) {
	if b.lowered {
		return to, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := b.ask(ctx, newestOfSpans, []any{b.first, b.past}, func(rows pgx.Rows) error {
		newest, err := pgx.CollectRows(rows, pgx.RowTo[uint64])
		for _, txid := range newest {
			largest = max(largest, txid)
		}
		return err
	})
	b.lowered = err == nil
	return to.Lowered(largest), wrap("find a batch's end", err)
}

func (b *batchReader) query(ctx context.Context, limit int, sql string, args ...any) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	args = append([]any{b.db.config.MaxPayload, pageBytes}, args...)
	var p page
	err := b.ask(ctx, sql, args, func(rows pgx.Rows) (err error) {
		p, err = b.db.collectPage(rows, limit)
		return err
	})
	if err != nil {
		return page{}, fmt.Errorf("read events: %w", err)
	}
	if b.pool != nil {
		p.large = nil // who reads for one client does not say it again
	}
	for _, e := range p.large {
		b.db.reportLargePayload(e)
	}
	if n := len(p.events); n > 0 {
		b.after = p.events[n-1].ID
	}
	return p, nil
}

// ask runs a query with the plan that it needs.
func (r *reader) ask(ctx context.Context, sql string, args []any, collect func(pgx.Rows) error) error {
	switch {
	case r.pool != nil:
		select {
		case r.db.reading <- struct{}{}:
			defer func() { <-r.db.reading }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return planned(ctx, r.pool, pooledPlan, sql, args, collect)
	case r.db.config.PollOnly:
		return planned(ctx, r.conn, pooledPlan, sql, args, collect)
	}
	rows, err := r.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	return collect(rows)
}

func (b *batchReader) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	limit := listedIDs
	if b.pool != nil {
		limit = listedForOne
	}
	err := b.ask(ctx, listSpan, []any{b.first, b.past, b.after, limit}, func(rows pgx.Rows) (err error) {
		b.ids, err = pgx.AppendRows(b.ids[:0], rows, pgx.RowTo[int64])
		return err
	})
	b.unlisted = len(b.ids) == limit
	return wrap("list events", err)
}
