package db

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// sender is a connection or a pool.
type sender interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// planned runs a query in a transaction of its own that begins with settings for
// the planner. They are gone with it, so it may go through a pooler; all is one
// round trip.
func planned(ctx context.Context, s sender, settings, sql string, args []any, collect func(pgx.Rows) error) error {
	var batch pgx.Batch
	batch.Queue(settings)
	batch.Queue(sql, args...)
	results := s.SendBatch(ctx, &batch)
	err := collectPlanned(results, collect)
	if closing := results.Close(); err == nil {
		err = closing
	}
	return err
}

func collectPlanned(results pgx.BatchResults, collect func(pgx.Rows) error) error {
	if _, err := results.Exec(); err != nil {
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	return collect(rows)
}
