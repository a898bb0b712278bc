package db

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// maxDropped bounds how many notes of changes that became no event are kept, the
// newest: a watch that always fails writes some with each statement.
const maxDropped = 10_000

// Dropped asks how many changes of watched tables have become no event so far,
// in the whole database.
func (d *DB) Dropped(ctx context.Context) (count int64, err error) {
	err = d.pool.QueryRow(ctx, `-- name: dropped
		SELECT coalesce(sum(count), 0)::bigint
		FROM notifier.dropped`).Scan(&count)
	return count, wrap("count what was dropped", err)
}

// forgetDropped removes the notes that are older than the retention, or too many,
// and counts them on in one row, so that the sum stays. Instances that meet here
// leave more than one such row, until the next time.
func (d *DB) forgetDropped(ctx context.Context, conn *pgxpool.Conn) error {
	_, err := conn.Exec(ctx, `-- name: forget_dropped
		WITH due AS MATERIALIZED (
			SELECT id, dropped_at
			FROM notifier.dropped
			WHERE dropped_at < now() - $1::interval
				OR id <= (SELECT id FROM notifier.dropped ORDER BY id DESC OFFSET $2 LIMIT 1)
		), gone AS (
			DELETE FROM notifier.dropped
			WHERE id IN (SELECT id FROM due)
				AND (SELECT bool_or(dropped_at > '-infinity') FROM due)
			RETURNING count
		)
		INSERT INTO notifier.dropped (dropped_at, message, count)
		SELECT '-infinity', 'removed after the retention', sum(count)
		FROM gone
		HAVING sum(count) > 0`, d.config.Retention, maxDropped)
	return wrap("forget what was dropped", err)
}
