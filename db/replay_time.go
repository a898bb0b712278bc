package db

import (
	"cmp"
	"context"
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
// particular, null for any.
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
	first, past, err := r.whereabouts(ctx)
	if err != nil {
		return err
	}
	args := []any{first, past, r.at.created, r.at.id, r.wanted.Types, r.wanted.Keys, recipient, listedForOne}
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
	r.unlisted = len(r.ids) == listedForOne
	return wrap("list stored events", err)
}

// whereabouts returns the ranges of transactions whose events may be of the time:
// those between two positions of which that is not ruled out, and all that came
// after the last position.
func (r *replayByTime) whereabouts(ctx context.Context) (first, past []uint64, err error) {
	rows, err := r.db.pool.Query(ctx, `-- name: whereabouts
		SELECT position::text, latest IS NULL OR latest >= $1
		FROM notifier.positions
		ORDER BY taken_at`, r.at.created)
	if err != nil {
		return nil, nil, wrap("read positions", err)
	}
	var ranges []notifier.TxIDRange
	var at, from notifier.Position // from: where what is wanted begins, if open
	open := false
	var text string
	var wanted bool
	_, err = pgx.ForEachRow(rows, []any{&text, &wanted}, func() error {
		next, err := notifier.ParsePosition(text)
		if err != nil {
			return err
		}
		switch {
		case wanted && !open:
			from, open = at, true
		case !wanted && open:
			ranges, open = append(ranges, notifier.Between(from, at)...), false
		}
		at = next
		return nil
	})
	if err != nil {
		return nil, nil, wrap("read positions", err)
	}
	if !open {
		from = at
	}
	first, past = bounds(merged(append(ranges, notifier.Between(from, r.until)...)))
	return first, past, nil
}

// merged returns ranges that do not overlap. Two positions may be recorded at one
// moment, and the later one then lie before the other.
func merged(ranges []notifier.TxIDRange) []notifier.TxIDRange {
	slices.SortFunc(ranges, func(a, b notifier.TxIDRange) int { return cmp.Compare(a.First, b.First) })
	var all []notifier.TxIDRange
	for _, next := range ranges {
		if end := len(all) - 1; end >= 0 && next.First <= all[end].End {
			all[end].End = max(all[end].End, next.End)
			continue
		}
		all = append(all, next)
	}
	return all
}
