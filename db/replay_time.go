package db

import (
	"context"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// listSince finds what was created since a time by an index that knows only from
// when to when the rows of a piece of the table are. It has no order: all that are
// left have to be looked through for the next ones. So it lists ids, many at once,
// and the rows are read by primary key.
//
// $1 and $2 are the time and id of the event listed last, or the time to begin at
// and no id; $3 the types and $4 the keys wanted, null for all; $5 the recipient
// beside nobody in particular, null for any.
const listSince = `-- name: list_since
SELECT id, created_at
FROM notifier.events
WHERE created_at >= $1::timestamptz
	AND (created_at > $1 OR id > $2::bigint)
	AND control IS NULL
	AND ($3::text[] IS NULL OR coalesce(type, '') = ANY ($3))
	AND ($4::text[] IS NULL OR coalesce(key, '') = ANY ($4))
	AND ($5::text IS NULL OR recipient IS NULL OR recipient = $5)
ORDER BY created_at, id
LIMIT $6::int`

// listSincePlan leaves the planner no way but along the index, and memory to sort
// in.
const listSincePlan = `-- name: list_since_plan
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
	set_config('enable_seqscan', 'off', true),
	set_config('max_parallel_workers_per_gather', '0', true),
	set_config('jit', 'off', true),
	set_config('work_mem', '32MB', true)`

// replayIDs reads what was listed, in the same order.
var replayIDs = pageSQL("replay_ids", `
	SELECT events.*
	FROM unnest($3::bigint[]) AS wanted(id)
	JOIN notifier.events USING (id)`, "created_at, id")

// replayByTime reads what was created since a time.
type replayByTime struct {
	db       *DB
	wanted   notifier.Filter
	at       replayPlace // of what is listed
	ids      []int64     // listed and not read yet
	unlisted bool        // there may be more than those
	begun    bool
}

func (r *replayByTime) next(ctx context.Context) (p page, err error) {
	if len(r.ids) == 0 && (r.unlisted || !r.begun) {
		r.begun = true
		if err := r.list(ctx); err != nil {
			return p, err
		}
	}
	if len(r.ids) == 0 {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	n := min(len(r.ids), pageRows)
	args := []any{r.db.config.MaxPayload, pageBytes, r.ids[:n]}
	err = planned(ctx, r.db.pool, pooledPlan, replayIDs, args, func(rows pgx.Rows) (err error) {
		p, err = r.db.collectPage(rows, n+1)
		return err
	})
	if err != nil {
		return page{}, wrap("read stored events", err)
	}
	if p.more { // it was cut to its size; else, what is missing has been removed
		n = slices.Index(r.ids, p.events[len(p.events)-1].ID) + 1
	}
	r.ids = r.ids[n:]
	p.more = len(r.ids) > 0 || r.unlisted
	return p, nil
}

// list finds the next ids. It may have to go through the whole log, so few do at a
// time.
func (r *replayByTime) list(ctx context.Context) error {
	select {
	case r.db.listing <- struct{}{}:
		defer func() { <-r.db.listing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var recipient *string
	if r.wanted.OrNobody {
		recipient = r.wanted.Recipient
	}
	args := []any{r.at.created, r.at.id, r.wanted.Types, r.wanted.Keys, recipient, listedForOne}
	r.ids = r.ids[:0]
	err := planned(ctx, r.db.pool, listSincePlan, listSince, args, func(rows pgx.Rows) error {
		var id int64
		var created pgtype.Timestamptz
		_, err := pgx.ForEachRow(rows, []any{&id, &created}, func() error {
			r.ids = append(r.ids, id)
			r.at = replayPlace{created, id}
			return nil
		})
		return err
	})
	r.unlisted = len(r.ids) == listedForOne
	return wrap("list stored events", err)
}
