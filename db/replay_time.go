package db

import (
	"context"
	"math"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// listSince finds what was created since a time, among what ended between some
// positions. It has no order by time: all that are left have to be looked through
// for the next ones. So it lists ids, many at once, and the rows are read by primary
// key.
//
// $1 and $2 are the first and past-the-end ids of the transactions; $3 and $4 the
// time and id of the event listed last, or the time to begin at and no id; $5 the
// types and $6 the keys wanted, null for all; $7 the recipient beside nobody in
// particular, null for any; $9 the time before which they were created, null for
// any.
const listSince = `-- name: list_since
SELECT found.id, found.created_at
FROM unnest($1::xid8[], $2::xid8[]) AS span(first, past)
CROSS JOIN LATERAL (
	SELECT id, created_at
	FROM notifier.events
	WHERE txid >= span.first
		AND txid < span.past
		AND created_at >= $3::timestamptz
		AND (created_at > $3 OR id > $4::bigint)
		AND ($9::timestamptz IS NULL OR created_at < $9)
		AND control IS NULL
		AND ($5::text[] IS NULL OR coalesce(type, '') = ANY ($5))
		AND ($6::text[] IS NULL OR coalesce(key, '') = ANY ($6))
		AND ($7::text IS NULL OR recipient IS NULL OR recipient = $7)
	OFFSET 0
) AS found
ORDER BY found.created_at, found.id
LIMIT $8::int`

// replayIDs reads what was listed, in the same order.
var replayIDs = pageSQL("replay_ids", `
	SELECT events.*
	FROM unnest($3::bigint[]) AS wanted(id)
	JOIN notifier.events USING (id)`, "created_at, id")

// replayByTime reads what was created since a time and ended before a position.
type replayByTime struct {
	db       *DB
	until    notifier.Position
	wanted   notifier.Filter
	at       replayPlace // of what is listed
	minutes  int         // how far beyond that the next list goes, about
	ids      []int64     // listed and not read yet
	unlisted bool        // there may be more than those
}

// A list goes so many minutes beyond its beginning at first; the next ones further
// if it found little, since whoever wants little of the log shall not ask for long.
const (
	firstMinutes  = 4
	growOfMinutes = 4
)

func (r *replayByTime) next(ctx context.Context) (p page, err error) {
	for len(r.ids) == 0 && r.unlisted {
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
	where, err := r.whereabouts(ctx)
	if err != nil {
		return err
	}
	args := []any{where.first, where.past, r.at.created, r.at.id, r.wanted.Types, r.wanted.Keys, recipient, listedForOne, where.before}
	r.ids = r.ids[:0]
	err = planned(ctx, r.db.pool, pooledPlan, listSince, args, func(rows pgx.Rows) error {
		var id int64
		var created pgtype.Timestamptz
		_, err := pgx.ForEachRow(rows, []any{&id, &created}, func() error {
			r.ids = append(r.ids, id)
			r.at = replayPlace{created, id}
			return nil
		})
		return err
	})
	if err != nil {
		return wrap("list stored events", err)
	}
	r.goOn(where.before)
	return nil
}

// goOn says where the next list begins and how far it goes, after one that went up
// to a time, or to the end.
func (r *replayByTime) goOn(before pgtype.Timestamptz) {
	switch n := len(r.ids); {
	case n == listedForOne: // there is more of that time
		r.minutes = max(firstMinutes, r.minutes/growOfMinutes)
	case !before.Valid:
		r.unlisted = false
	default:
		r.at = replayPlace{before, math.MinInt64}
		if n < listedForOne/growOfMinutes {
			r.minutes *= growOfMinutes
		}
	}
}
