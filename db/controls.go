package db

import (
	"context"
	"fmt"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// readControls selects the control events of the transactions in ranges.
var readControls = pageSQL("read_controls", `
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
	LIMIT $5::int`, "id")

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
	rows, err := b.conn.Query(ctx, readControls, b.db.config.MaxPayload, 64*pageBytes, b.first, b.past, maxControls)
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
			return []*notifier.Event{{Control: notifier.ControlAccessChanged}}, nil
		}
	}
	return all, nil
}
