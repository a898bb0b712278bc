package dbtest

import (
	"context"
	"log/slog"
)

// migrate brings a database to the newest schema.
func migrate(ctx context.Context, url string, logger *slog.Logger) error {
	return nil // the migrations package is not there yet
}
