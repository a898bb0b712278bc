package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

// versionTable is goose's record of what was applied. It sits in our schema, to leave an application's alone.
const versionTable = "notifier.goose_db_version"

//go:embed *.sql
var files embed.FS

// Up applies every migration that the database lacks. A database that lacks none is not locked, nor written to.
func Up(ctx context.Context, databaseURL string, logger *slog.Logger) error {
	return withDatabase(ctx, databaseURL, func(db *sql.DB) error {
		list, err := status(ctx, db)
		if err != nil || !pending(list) {
			return err
		}
		return locked(ctx, db, func(conn *sql.Conn) error {
			if err := createSchema(ctx, conn); err != nil {
				return err
			}
			return up(ctx, db, logger)
		})
	})
}

// Down takes the newest applied migration back. Taking the first one back deletes all events.
func Down(ctx context.Context, databaseURL string, logger *slog.Logger) error {
	return down(ctx, databaseURL, logger, func(newest int64) int64 { return newest - 1 })
}

// DownTo takes back every migration newer than version; 0 leaves nothing of notifier in the database.
func DownTo(ctx context.Context, databaseURL string, version int64, logger *slog.Logger) error {
	return down(ctx, databaseURL, logger, func(int64) int64 { return max(version, 0) })
}

func up(ctx context.Context, db *sql.DB, logger *slog.Logger) error {
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	return report(ctx, logger, results, err)
}

// down asks under the lock what the newest version is, so that two calls at once take two steps back, not the same.
func down(ctx context.Context, databaseURL string, logger *slog.Logger, target func(newest int64) int64) error {
	return withDatabase(ctx, databaseURL, func(db *sql.DB) error {
		return locked(ctx, db, func(conn *sql.Conn) error {
			list, err := status(ctx, db)
			if err != nil {
				return err
			}
			newest, err := newestApplied(list)
			if err != nil || newest == 0 {
				return err
			}
			return downTo(ctx, db, conn, target(newest), logger)
		})
	})
}

func downTo(ctx context.Context, db *sql.DB, conn *sql.Conn, version int64, logger *slog.Logger) error {
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	results, err := provider.DownTo(ctx, version)
	if err := report(ctx, logger, results, err); err != nil || version > 0 {
		return err
	}
	return dropSchema(ctx, conn)
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler))) // report says what was done, in our own words
	if err != nil {
		return nil, fmt.Errorf("read embedded migrations: %w", err)
	}
	return provider, nil
}

// report logs what was done, also by a run that failed later, and words the failure.
func report(ctx context.Context, logger *slog.Logger, results []*goose.MigrationResult, err error) error {
	partial, stopped := errors.AsType[*goose.PartialError](err)
	if stopped {
		results = partial.Applied
	}
	for _, r := range results {
		logger.InfoContext(ctx, "migration done",
			"version", r.Source.Version, "file", r.Source.Path, "direction", r.Direction, "took", r.Duration)
	}
	if stopped {
		return fmt.Errorf("migrate %s %s: %w", partial.Failed.Direction, partial.Failed.Source.Path, cause(err))
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", cause(err))
	}
	return nil
}

// cause finds the server's own error: goose wraps it in the text of the whole statement.
func cause(err error) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr
	}
	return err
}
