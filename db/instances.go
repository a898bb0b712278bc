package db

import (
	"context"
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// announceEvery is how often an instance says that it runs.
	announceEvery = 5 * time.Second
	// announceSoon is the same while it does not follow the log: it soon will.
	announceSoon = time.Second / 2
	// announceTimeout bounds that, also when it says that it stops.
	announceTimeout = 2 * time.Second
	// forgetInstancesAfter is how long one is listed that says nothing.
	forgetInstancesAfter = 5 * time.Minute
	// maxInstances bounds how many are listed.
	maxInstances = 100
)

// Announce tells the others that this instance runs, until the context ends, and
// then that it does not any more, and returns nil. point says how far the log was
// delivered. A database that does not answer is no error: the next time it may.
func (d *DB) Announce(ctx context.Context, self notifier.Instance, point func() notifier.Point) error {
	failing := false
	for ctx.Err() == nil {
		err := d.announce(ctx, self, point().To)
		if err != nil && !failing && ctx.Err() == nil {
			d.config.Logger.Warn("the instance could not be announced", "error", err)
		}
		failing = err != nil
		if d.Ready() == nil {
			wait(ctx, announceEvery)
		} else {
			wait(ctx, announceSoon)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceTimeout)
	defer cancel()
	_, err := d.pool.Exec(ctx, `-- name: retire
		DELETE FROM notifier.instances
		WHERE id = $1`, self.ID)
	if err != nil {
		d.config.Logger.Warn("the instance is still listed", "error", err)
	}
	return nil
}

func (d *DB) announce(ctx context.Context, self notifier.Instance, reached notifier.Position) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	var position *string
	if reached.Xmax() > 0 {
		position = new(reached.String())
	}
	_, err := d.pool.Exec(ctx, `-- name: announce
		INSERT INTO notifier.instances AS i (id, name, version, started_at, admin_url, position, feed)
		VALUES ($1, $2, $3, $4, nullif($5, ''), $6::text::pg_snapshot, $7)
		ON CONFLICT (id) DO UPDATE
		SET seen_at = now(), position = excluded.position, feed = excluded.feed`,
		self.ID, self.Name, self.Version, self.StartedAt, self.AdminURL, position, string(d.feedState()))
	return wrap("announce the instance", err)
}

func (d *DB) feedState() notifier.FeedState {
	switch {
	case d.Ready() != nil:
		return notifier.FeedBroken
	case d.config.PollOnly:
		return notifier.FeedPolling
	}
	return notifier.FeedListening
}

// Instances returns the instances that run, or did a few minutes ago and have not
// said that they stopped; the oldest first.
func (d *DB) Instances(ctx context.Context) ([]notifier.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	// One row that is out of bounds, or of JSON's years, is not to hide the others.
	rows, err := d.pool.Query(ctx, `-- name: instances
		SELECT id::text, left(name, 200), left(version, 200), least(greatest(started_at, '0001-01-02'), '9999-12-30'),
			least(greatest(seen_at, '0001-01-02'), '9999-12-30'), left(coalesce(admin_url, ''), 2000), coalesce(position::text, ''), left(feed, 20)
		FROM notifier.instances
		ORDER BY started_at, id
		LIMIT $1`, maxInstances)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i notifier.Instance, err error) {
		return i, row.Scan(&i.ID, &i.Name, &i.Version, &i.StartedAt, &i.SeenAt, &i.AdminURL, &i.Position, &i.Feed)
	})
	return all, wrap("list instances", err)
}

// forgetInstances deletes the rows of instances that ended without saying so.
func forgetInstances(ctx context.Context, conn *pgxpool.Conn) error {
	_, err := conn.Exec(ctx, `-- name: forget_instances
		DELETE FROM notifier.instances
		WHERE seen_at < now() - $1::interval`, forgetInstancesAfter)
	return wrap("forget instances", err)
}
