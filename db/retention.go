package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/notifier/notifier"
)

const (
	retainEvery = time.Minute
	// retainTimeout bounds a round: what it has not come to, the next does.
	retainTimeout = 15 * time.Minute
	// deleteRows bounds one transaction of retention, so that it holds no
	// snapshot for long.
	deleteRows = 5000
	// keyLifetime is how long an idempotency key is known.
	keyLifetime = 24 * time.Hour
)

// Retain records a position every minute, for all instances together, and
// removes what was visible in the newest one that is older than the retention.
// It returns nil when the context ends; errors are logged, and it goes on.
func (d *DB) Retain(ctx context.Context) error {
	for {
		removed, err := d.RetainOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.config.Logger.Warn("retention is behind", "error", err)
		case removed > 0:
			d.config.Logger.Info("old events removed", "count", removed)
		}
		wait(ctx, retainEvery+rand.N(retainEvery/10)) //nolint:gosec // jitter
	}
}

// RetainOnce does one round of what [DB.Retain] does each minute and returns how
// many events it removed.
func (d *DB) RetainOnce(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, retainTimeout)
	defer cancel()
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("connect for retention: %w", err)
	}
	defer conn.Release()
	if err := d.adopt(ctx, conn.Conn()); err != nil {
		return 0, err
	}
	if err := recordPosition(ctx, conn); err != nil {
		return 0, err
	}
	removed, err := d.removeOld(ctx, conn)
	if err != nil {
		return removed, err
	}
	return removed, errors.Join(forgetKeys(ctx, conn), forgetSessions(ctx, conn), forgetInstances(ctx, conn), d.forgetDropped(ctx, conn))
}

// forgetKeys deletes the idempotency keys that are too old, some at a time.
func forgetKeys(ctx context.Context, conn *pgxpool.Conn) error {
	for {
		tag, err := conn.Exec(ctx, `-- name: forget_keys
			DELETE FROM notifier.idempotency_keys
			WHERE ctid = ANY (ARRAY(
				SELECT ctid
				FROM notifier.idempotency_keys
				WHERE created_at < now() - $1::interval
				LIMIT $2))`, keyLifetime, deleteRows)
		if err != nil || tag.RowsAffected() < deleteRows {
			return wrap("forget idempotency keys", err)
		}
	}
}

// removeOld removes the events that are due, if any position is old enough to
// tell.
func (d *DB) removeOld(ctx context.Context, conn *pgxpool.Conn) (int64, error) {
	floor, err := d.raiseFloor(ctx, conn)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, wrap("raise the floor of retention", err)
	}
	return removeEvents(ctx, conn, floor)
}

// recordPosition adds the minute's position unless another instance has.
func recordPosition(ctx context.Context, conn *pgxpool.Conn) error {
	now, err := beginning(ctx, conn.Conn())
	if err != nil {
		return err
	}
	times, err := timesSince(ctx, conn, now.Position)
	if err != nil {
		return wrap("look at what is new", err)
	}
	// What was recorded while the clock was ahead would keep anything from being
	// recorded until it is there again.
	_, err = conn.Exec(ctx, `-- name: record_position
		WITH ahead AS (
			DELETE FROM notifier.positions
			WHERE taken_at > now() + $2::interval
		)
		INSERT INTO notifier.positions (position, earliest, latest)
		SELECT $1::text::pg_snapshot, $3, $4
		WHERE NOT EXISTS (
			SELECT
			FROM notifier.positions
			WHERE taken_at BETWEEN now() - $2::interval AND now() + $2::interval)
		ON CONFLICT DO NOTHING`, now.Position.String(), retainEvery*9/10, times.earliest, times.latest)
	return wrap("record a position", err)
}

// latestEvents bounds the events that are looked at for one position, so that one
// comes to be recorded also after a long pause.
const latestEvents = 2_000_000

// times are the earliest and the latest that some events carry.
type times struct{ earliest, latest pgtype.Timestamptz }

// timesSince returns those of the events that have come between the last position,
// not counting what was recorded while the clock was ahead, and this one; nulls if
// that is not known. If another instance has just recorded one, nobody wants to
// know.
func timesSince(ctx context.Context, conn *pgxpool.Conn, now notifier.Position) (t times, err error) {
	var text string
	err = conn.QueryRow(ctx, `-- name: last_position
		SELECT position::text
		FROM notifier.positions
		WHERE taken_at <= now() + $1::interval
			AND NOT EXISTS (
				SELECT
				FROM notifier.positions
				WHERE taken_at BETWEEN now() - $1::interval AND now() + $1::interval)
		ORDER BY taken_at DESC
		LIMIT 1`, retainEvery*9/10).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	last, err := notifier.ParsePosition(text)
	if err != nil {
		return t, err
	}
	first, past := bounds(notifier.Between(last, now))
	err = planned(ctx, conn, pooledPlan, `-- name: times_since
		SELECT
			CASE WHEN count(*) <= $3 THEN coalesce(min(created_at), 'infinity') END,
			CASE WHEN count(*) <= $3 THEN coalesce(max(created_at), '-infinity') END
		FROM (
			SELECT found.created_at
			FROM unnest($1::xid8[], $2::xid8[]) AS span(first, past)
			CROSS JOIN LATERAL (
				SELECT created_at
				FROM notifier.events
				WHERE txid >= span.first
					AND txid < span.past
				OFFSET 0
			) AS found
			LIMIT $3 + 1
		) AS looked`, []any{first, past, latestEvents}, func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&t.earliest, &t.latest}, func() error { return nil })
		return err
	})
	return t, err
}

// raiseFloor drops the positions below the newest that is older than the
// retention, before the events themselves go: the oldest position left tells
// from where on nothing is missing.
func (d *DB) raiseFloor(ctx context.Context, conn *pgxpool.Conn) (notifier.Position, error) {
	var text string
	err := conn.QueryRow(ctx, `-- name: raise_floor
		WITH floor AS (
			SELECT taken_at, position
			FROM notifier.positions
			WHERE taken_at <= now() - $1::interval
			ORDER BY taken_at DESC
			LIMIT 1
		), below AS (
			DELETE FROM notifier.positions
			USING floor
			WHERE positions.taken_at < floor.taken_at
		)
		SELECT position::text
		FROM floor`, d.config.Retention).Scan(&text)
	if err != nil {
		return notifier.Position{}, err
	}
	return notifier.ParsePosition(text)
}

// removeEvents deletes what the floor covers, in the order of the index, so that
// no round goes over what an earlier one has deleted. An instance that meets
// another at it finds fewer rows than it asked for, and leaves it the rest.
func removeEvents(ctx context.Context, conn *pgxpool.Conn, floor notifier.Position) (int64, error) {
	var total int64
	var from uint64
	running := append([]uint64{}, floor.InProgress()...) // never nil: that would be NULL, and match nothing
	for {
		var count int64
		err := conn.QueryRow(ctx, `-- name: remove_events
			WITH gone AS (
				DELETE FROM notifier.events
				WHERE id = ANY (ARRAY(
					SELECT id
					FROM notifier.events
					WHERE txid >= $1
						AND txid < $2
						AND txid <> ALL ($3::xid8[])
					ORDER BY txid
					LIMIT $4))
				RETURNING txid
			)
			SELECT
				(SELECT count(*) FROM gone),
				coalesce((SELECT txid FROM gone ORDER BY txid DESC LIMIT 1), '0')`, from, floor.Xmax(), running, deleteRows).Scan(&count, &from)
		total += count
		if err != nil || count < deleteRows {
			return total, wrap("remove old events", err)
		}
	}
}
