package db

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// replayRows selects what is stored for one recipient after a place in the order
// of replay. The index holds the beginnings of recipients only. $3 is the recipient, $4 the time to begin at, $5 and $6 the time
// and id of the event read last.
const replayRows = `
	SELECT *
	FROM notifier.events
	WHERE left(recipient, 256) = left($3::text, 256)
		AND recipient = $3
		AND created_at >= $4
		AND (created_at, id) > ($5, $6)
		AND control IS NULL
	ORDER BY created_at, id
	LIMIT $7::int`

var replayPage = pageSQL("replay_page", replayRows, "created_at, id")

// replayPlan leaves the planner no way but along the index, which ends with the
// page. On a table it has no statistics of, it would rather collect and sort all
// that is left of the replay, for each page anew. In a batch, the settings are
// gone when the page has been read; also through a pooler.
const replayPlan = `-- name: replay_plan
SELECT set_config('enable_bitmapscan', 'off', true),
	set_config('enable_seqscan', 'off', true)`

// replayTimeout bounds reading one page of a replay.
const replayTimeout = 30 * time.Second

var errNoRecipient = errors.New("replay without a recipient is not supported")

// Replay yields the stored events that the filter wants and the point covers:
// by created_at, then id, in pages bounded in rows and bytes. It waits for yield
// outside of any transaction, so yield may take its time. The filter must name a
// recipient.
func (d *DB) Replay(ctx context.Context, f notifier.Filter, until notifier.Point, yield func([]*notifier.Event) error) error {
	if f.Recipient == nil {
		return errNoRecipient
	}
	at := replayPlace{
		created: pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true},
		id:      math.MinInt64,
	}
	for {
		p, err := d.replayPage(ctx, f, at)
		if err != nil {
			return err
		}
		if n := len(p.events); n > 0 {
			at = replayPlace{p.lastCreated, p.events[n-1].ID}
		}
		due := slices.DeleteFunc(p.events, func(e *notifier.Event) bool {
			return !until.Covers(e) || !f.Matches(e)
		})
		if len(due) > 0 {
			if err := yield(due); err != nil {
				return err
			}
		}
		if !p.more {
			return nil
		}
	}
}

// replayPlace is a place in the order of replay.
type replayPlace struct {
	created pgtype.Timestamptz
	id      int64
}

func (d *DB) replayPage(ctx context.Context, f notifier.Filter, after replayPlace) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	args := []any{
		d.config.MaxPayload, pageBytes,
		*f.Recipient, timestamp(f.Since), after.created, after.id, pageRows,
	}
	var p page
	err := planned(ctx, d.pool, replayPlan, replayPage, args, func(rows pgx.Rows) (err error) {
		p, err = d.collectPage(rows, pageRows)
		return err
	})
	d.counters.replayRows.Add(int64(len(p.events)))
	return p, wrap("read stored events", err)
}

// timestamp maps what lies beyond Postgres' time line to its infinities, the
// opposite of finite.
func timestamp(t time.Time) pgtype.Timestamptz {
	switch {
	case t.IsZero(), !t.After(notifier.MinTime):
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	case t.After(notifier.MaxTime.Add(time.Second)):
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}
