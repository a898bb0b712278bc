package db

import (
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// pageSQL wraps a selection of rows of notifier.events, called due, that is
// bounded in number. It keeps as many of them, in the given order, as fit into
// a number of bytes, and at least one; leaves out payloads that are too large;
// and says how many there were.
//
// The real size of what is stored out of line can be had only by reading all of
// it. So the rows are cut twice: first by what they take on disk, which costs
// nothing and is seldom more than the real size; and then what is left, read
// once (OFFSET 0 sees to that), by the real one.
//
// $1 is the largest payload, $2 the bytes of a page.
func pageSQL(name, due, order string) string {
	const stored = `least(coalesce(pg_column_size(payload), 0), $1) + least(coalesce(pg_column_size(original), 0), $1)`
	const size = `least(payload_size, $1) + least(original_size, $1) + 200`
	before := ` OVER (
			ORDER BY ` + order + `
			ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)`
	return `-- name: ` + name + `
SELECT id, txid, created_at,
	coalesce(type, ''), coalesce(action, ''), coalesce(key, ''),
	recipient, dataset_id, coalesce(principal, ''), coalesce(control, ''), rings IS FALSE,
	CASE WHEN payload_size <= $1 THEN payload END, payload_size,
	CASE WHEN original_size <= $1 THEN original END, original_size,
	selected
FROM (
	SELECT sized.*,
		coalesce(sum(` + size + `)` + before + ` AS read_before
	FROM (
		SELECT light.*,
			coalesce(octet_length(payload::text), 0) AS payload_size,
			coalesce(octet_length(original::text), 0) AS original_size
		FROM (
			SELECT due.*,
				count(*) OVER () AS selected,
				coalesce(sum(` + stored + `)` + before + ` AS stored_before
			FROM (` + due + `) AS due
		) AS light
		WHERE stored_before < $2
		OFFSET 0
	) AS sized
) AS counted
WHERE read_before < $2
ORDER BY ` + order
}

// scannedRow is a row of a page and what the page says beside it.
type scannedRow struct {
	event        *notifier.Event
	created      pgtype.Timestamptz // as stored: it may be infinite
	payloadSize  int
	originalSize int
	selected     int // rows that were selected before the page was cut to its size
}

func scanRow(rows pgx.CollectableRow) (scannedRow, error) {
	e := &notifier.Event{}
	r := scannedRow{event: e}
	var control string
	err := rows.Scan(&e.ID, &e.TxID, &r.created, &e.Type, &e.Action, &e.Key,
		&e.Recipient, &e.DatasetID, &e.Principal, &control, &e.Unordered,
		(*[]byte)(&e.Payload), &r.payloadSize, (*[]byte)(&e.Original), &r.originalSize, &r.selected)
	if err != nil {
		return r, fmt.Errorf("read an event: %w", err)
	}
	e.Control = notifier.Control(control)
	e.CreatedAt = finite(r.created)
	return r, nil
}

// finite maps Postgres' infinities to the ends of its time line.
func finite(t pgtype.Timestamptz) time.Time {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return notifier.MaxTime
	case pgtype.NegativeInfinity:
		return notifier.MinTime
	}
	return t.Time.UTC()
}

// bounds of what is held of the log at once, per reader.
const (
	pageRows  = 1000
	pageBytes = 1 << 20
)

// page is a bounded piece of what a query selected.
type page struct {
	events      []*notifier.Event
	lastCreated pgtype.Timestamptz // created_at of the last, as stored
	more        bool               // there may be more: the bounds cut it
	large       []scannedRow       // whose payload was left out
}

// collectPage reads a page that was asked for with that limit of rows.
func (d *DB) collectPage(rows pgx.Rows, limit int) (page, error) {
	scanned, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return page{}, err
	}
	p := page{events: make([]*notifier.Event, len(scanned))}
	for i, r := range scanned {
		p.events[i] = r.event
		p.lastCreated = r.created
		p.more = r.selected >= limit || r.selected > len(scanned)
		if r.size() > d.config.MaxPayload {
			p.large = append(p.large, r)
		}
	}
	return p, nil
}

func (r *scannedRow) size() int { return max(r.payloadSize, r.originalSize) }

// reportLargePayload explains a null. Replays don't: they would say it again to
// every client.
func (d *DB) reportLargePayload(r scannedRow) {
	d.counters.largePayloads.Add(1)
	d.config.Logger.Warn("payload too large, delivered as null",
		"event", r.event.ID, "bytes", r.size(), "limit", d.config.MaxPayload)
}
