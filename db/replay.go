package db

import (
	"context"
	"math"
	"slices"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// replayRows selects what is stored for one recipient after a place in the order
// of replay. The index holds the beginnings of recipients only. $3 is the
// recipient, $4 and $5 the time and id of the event read last, or the time to begin
// at and no id.
const replayRows = `
	SELECT *
	FROM notifier.events
	WHERE left(recipient, 256) = left($3::text, 256)
		AND recipient = $3
		AND (created_at, id) > ($4, $5)
		AND control IS NULL
	ORDER BY created_at, id
	LIMIT $6::int`

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

// Replay yields the stored events that any of the filters wants and the point
// covers, each once: by created_at, then id, in pages bounded in rows and bytes. It
// waits for yield outside of any transaction, so yield may take its time.
func (d *DB) Replay(ctx context.Context, filters []notifier.Filter, until notifier.Point, yield func([]*notifier.Event) error) error {
	if len(filters) == 0 {
		return nil
	}
	r := d.newReplay(filters, until.To)
	for {
		p, err := r.next(ctx)
		if err != nil {
			return err
		}
		d.counters.replayRows.Add(int64(len(p.events)))
		due := slices.DeleteFunc(p.events, func(e *notifier.Event) bool {
			return !until.Covers(e) || !wantedByAny(filters, e)
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

func wantedByAny(filters []notifier.Filter, e *notifier.Event) bool {
	return slices.ContainsFunc(filters, func(f notifier.Filter) bool { return f.Matches(e) })
}

// replay reads page by page what some filters may want.
type replay interface {
	next(ctx context.Context) (page, error)
}

// newReplay chooses how to find it: what is addressed to one user by the index of
// recipients, all else by the time.
func (d *DB) newReplay(filters []notifier.Filter, until notifier.Position) replay {
	w := widest(filters)
	begin := replayPlace{timestamp(w.Since), math.MinInt64}
	if w.Recipient != nil && !w.OrNobody {
		return &replayToOne{db: d, recipient: *w.Recipient, at: begin}
	}
	return &replayByTime{db: d, until: until, wanted: w, at: begin, minutes: firstMinutes, unlisted: true}
}

// widest returns a filter that wants at least what any of some want. Actions are
// left out, as they don't narrow much down.
func widest(filters []notifier.Filter) notifier.Filter {
	w := filters[0]
	w.Actions = nil
	for _, f := range filters[1:] {
		w.Types, w.Keys = union(w.Types, f.Types), union(w.Keys, f.Keys)
		if f.Since.Before(w.Since) {
			w.Since = f.Since
		}
		w.OrNobody = w.OrNobody || f.OrNobody
		if w.Recipient == nil || f.Recipient == nil || *w.Recipient != *f.Recipient {
			w.Recipient = nil
		}
	}
	return w
}

// union returns the values of two lists, of which an empty one stands for all.
func union(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return slices.Concat(a, b)
}

// replayPlace is a place in the order of replay.
type replayPlace struct {
	created pgtype.Timestamptz
	id      int64
}

// replayToOne reads what is addressed to one user.
type replayToOne struct {
	db        *DB
	recipient string
	at        replayPlace
}

func (r *replayToOne) next(ctx context.Context) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	args := []any{
		r.db.config.MaxPayload, pageBytes,
		r.recipient, r.at.created, r.at.id, pageRows,
	}
	var p page
	err := planned(ctx, r.db.pool, replayPlan, replayPage, args, func(rows pgx.Rows) (err error) {
		p, err = r.db.collectPage(rows, pageRows)
		return err
	})
	if n := len(p.events); n > 0 {
		r.at = replayPlace{p.lastCreated, p.events[n-1].ID}
	}
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
