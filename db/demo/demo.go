// Package demo is the example application that `notifier dev` puts beside the
// log: one table with a trigger.
package demo

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed demo.sql
var script string

// Install creates the demo schema in a migrated database, or brings it up to
// date; the notes stay.
func Install(ctx context.Context, databaseURL string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect for the demo: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// Without parameters the statements go out together, which makes them one transaction.
	if _, err := conn.Exec(ctx, script); err != nil {
		return fmt.Errorf("install the demo: %w", err)
	}
	return nil
}
