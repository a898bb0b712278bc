package db

import (
	"context"
	"fmt"
	"math"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// controlRows selects the control events of the transactions in ranges.
const controlRows = `
	SELECT found.*
	FROM unnest($3::xid8[], $4::xid8[]) AS span(first, past)
	CROSS JOIN LATERAL (
		SELECT *
		FROM notifier.events
		WHERE txid >= span.first
			AND txid < span.past
			AND control IS NOT NULL
		OFFSET 0
	) AS found
	ORDER BY found.id + 0
	LIMIT $5::int`

var readControls = pageSQL("read_controls", controlRows, "id")

// maxControls is how many control events of one batch are looked at one by one.
const maxControls = 100_000

// controls returns the control events of the whole batch with its first page,
// because what they say of access holds for every event of it.
func (b *batchReader) controls(ctx context.Context, first page) ([]*notifier.Event, error) {
	if b.pages > 1 || b.resumed {
		return nil, nil
	}
	if !first.more {
		return slices.DeleteFunc(slices.Clone(first.events), func(e *notifier.Event) bool { return e.Control == "" }), nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return b.db.readControls(ctx, b.conn, b.first, b.past)
}

func (d *DB) readControls(ctx context.Context, conn *pgx.Conn, first, past []uint64) ([]*notifier.Event, error) {
	if len(first) == 0 {
		return nil, nil
	}
	rows, err := conn.Query(ctx, readControls, d.config.MaxPayload, 64*pageBytes, first, past, maxControls)
	if err != nil {
		return nil, fmt.Errorf("read control events: %w", err)
	}
	scanned, err := pgx.CollectRows(rows, scanRow)
	if err != nil {
		return nil, fmt.Errorf("read control events: %w", err)
	}
	all := make([]*notifier.Event, len(scanned))
	for i, r := range scanned {
		all[i] = r.event
		if r.selected >= maxControls || r.selected > len(scanned) {
			// Too many to tell apart: anybody's access may have changed at any time.
			return []*notifier.Event{{TxID: math.MaxUint64, Control: notifier.ControlAccessChanged}}, nil
		}
	}
	return all, nil
}

// AccessChanges returns the control events that were committed after a position:
// those that [DB.Ask] may know of before the feed has brought them.
func (d *DB) AccessChanges(ctx context.Context, since notifier.Position) ([]*notifier.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := d.live.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("read control events: %w", err)
	}
	defer conn.Release()
	now, err := snapshot(ctx, conn.Conn())
	if err != nil {
		return nil, err
	}
	first, past := bounds(notifier.Between(since, now))
	return d.readControls(ctx, conn.Conn(), first, past)
}
