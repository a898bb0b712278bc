package db

import (
	"cmp"
	"context"
	"slices"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// whereabouts is where in the log to look for what was created since one time and
// before another.
type whereabouts struct {
	first, past []uint64           // ranges of transactions
	before      pgtype.Timestamptz // null: there is no such time
}

// positionsOfTime says of each minute between two positions whether an event in it
// may be of the time, as far as its earliest and latest tell, and how far that time
// goes: to the earliest of the minute that is the next after so many. Minutes that
// have events of before it, or of which nothing is known, are looked through by
// every list. Where there are more of those than that, the others are taken so many
// at once, too, or a replay would look through them again and again.
//
// $1 is the beginning of the time, $2 the number of minutes.
const positionsOfTime = `-- name: positions_of_time
SELECT
	position::text,
	(latest IS NULL OR latest >= $1::timestamptz)
		AND (earliest IS NULL OR bound.at IS NULL OR earliest < bound.at),
	bound.at
FROM notifier.positions
LEFT JOIN (
	SELECT earliest AS at
	FROM notifier.positions
	WHERE latest >= $1
		AND earliest > $1
	ORDER BY earliest
	OFFSET greatest($2::bigint, (
		SELECT count(*)
		FROM notifier.positions
		WHERE (latest IS NULL OR latest >= $1)
			AND (earliest IS NULL OR earliest <= $1)))
	LIMIT 1
) AS bound ON true
ORDER BY taken_at`

// whereabouts returns the ranges of transactions whose events may be of the next
// time: those between two positions of which that is not ruled out, and all that
// came after the last position.
func (r *replayByTime) whereabouts(ctx context.Context) (w whereabouts, err error) {
	rows, err := r.db.pool.Query(ctx, positionsOfTime, r.at.created, r.minutes)
	if err != nil {
		return w, wrap("read positions", err)
	}
	var ranges []notifier.TxIDRange
	var at, from notifier.Position // from: where what is wanted begins, if open
	open := false
	var text string
	var wanted bool
	_, err = pgx.ForEachRow(rows, []any{&text, &wanted, &w.before}, func() error {
		next, err := notifier.ParsePosition(text)
		if err != nil {
			return err
		}
		if open && (!wanted || before(next, at)) {
			ranges, open = append(ranges, notifier.Between(from, at)...), false
		}
		if wanted && !open {
			from, open = at, true
		}
		at = next
		return nil
	})
	if err != nil {
		return w, wrap("read positions", err)
	}
	if !open {
		from = at
	}
	w.first, w.past = bounds(merged(append(ranges, notifier.Between(from, r.until)...)))
	return w, nil
}

// before reports whether something had ended at b and not yet at a. An instance that
// is slow to look at what is new records a position after others have recorded later
// ones: what lies between the two is in the minute of those, and not in its own.
func before(a, b notifier.Position) bool { return len(notifier.Between(a, b)) > 0 }

// merged returns ranges that do not overlap, as those around a position that lies
// before the one recorded ahead of it may.
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
