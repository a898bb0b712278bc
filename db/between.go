package db

import (
	"context"

	"example.com/notifier/notifier"
)

// Between yields the events, control events too, of the transactions that had ended
// at to and not at from, those with an id up to after left out: in the order of
// their ids, in pages bounded in rows and bytes. It waits for yield outside of any
// transaction, so yield may take its time.
func (d *DB) Between(ctx context.Context, from, to notifier.Position, after int64, yield func([]*notifier.Event) error) error {
	r := &reader{db: d, pool: d.pool}
	b := newBatchReader(r, notifier.Point{From: from, To: to, After: after})
	for {
		p, err := b.next(ctx)
		if err != nil {
			return err
		}
		d.counters.replayRows.Add(int64(len(p.events)))
		if len(p.events) > 0 {
			if err := yield(p.events); err != nil {
				return err
			}
		}
		if !p.more {
			return nil
		}
	}
}
