package db

import (
	"context"
	"errors"
	"math"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// latestTypes are those the index events_latest has. Of others, only the last
// latestWindow ids of the log are looked through, by the primary key: an index of
// all types would cost every writer.
var latestTypes = []string{"life-preserver", "system-state"}

const latestWindow = "10000"

// latestRows bounds how many events of a type are looked at in all, page by page:
// nearly always the first will do, and if the policy lets none of these through,
// nobody may wait for it to be asked about all others.
var latestRows = []int{1, 10, 100, 1000}

// latestDue selects the newest events of a type below an id. $3 is the type, $4
// the recipient beside nobody in particular, null for any. The id is below $5 and
// above $6, null for the window's.
const latestDue = `
	SELECT *
	FROM notifier.events
	WHERE type = $3
		AND ($4::text IS NULL OR recipient IS NULL OR recipient = $4)
		AND id < $5
		AND id > coalesce($6, (
			SELECT max(id) - ` + latestWindow + `
			FROM notifier.events))
		AND control IS NULL
	ORDER BY id DESC
	LIMIT $7::int`

var latestPage = pageSQL("latest_page", latestDue, "id DESC")

// latestPlan has the statement planned for the type at hand, as the index is only
// for some, and leaves the planner no way but along an index.
const latestPlan = `-- name: latest_plan
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
	set_config('enable_bitmapscan', 'off', true),
	set_config('enable_seqscan', 'off', true)`

var errOneType = errors.New("the newest event is of one type")

// Latest yields the newest stored events that the filter wants and the point
// covers, the newest first, in pages, until yield has had enough. The filter must
// name one type, and may name a recipient. How far back it looks is bounded.
func (d *DB) Latest(ctx context.Context, f notifier.Filter, until notifier.Point, yield func([]*notifier.Event) (enough bool, err error)) error {
	if len(f.Types) != 1 {
		return errOneType
	}
	before := int64(math.MaxInt64)
	for _, rows := range latestRows {
		p, err := d.latestPage(ctx, f, before, rows)
		if err != nil || len(p.events) == 0 {
			return err
		}
		before = p.events[len(p.events)-1].ID
		due := slices.DeleteFunc(p.events, func(e *notifier.Event) bool {
			return !until.Covers(e) || !f.Matches(e)
		})
		if len(due) > 0 {
			if enough, err := yield(due); enough || err != nil {
				return err
			}
		}
		if !p.more {
			return nil
		}
	}
	return nil
}

// latestPage reads so many events of a type below an id.
func (d *DB) latestPage(ctx context.Context, f notifier.Filter, before int64, rows int) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	var after *int64 // the window's
	if slices.Contains(latestTypes, f.Types[0]) {
		after = new(int64(math.MinInt64))
	}
	args := []any{d.config.MaxPayload, pageBytes, f.Types[0], f.Recipient, before, after, rows}
	var p page
	err := planned(ctx, d.pool, latestPlan, latestPage, args, func(r pgx.Rows) (err error) {
		p, err = d.collectPage(r, rows)
		return err
	})
	d.counters.replayRows.Add(int64(len(p.events)))
	return p, wrap("read the newest events", err)
}
