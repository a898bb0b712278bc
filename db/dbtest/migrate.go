package dbtest

import (
	"context"
	"log/slog"

	"example.com/notifier/migrations"
)

// migrate brings a database to the newest schema.
func migrate(ctx context.Context, url string, logger *slog.Logger) error {
	return migrations.Up(ctx, url, logger)
}
