package migrations

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

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
			return withSessions(ctx, databaseURL, prepareHasty, func(hasty *sql.DB) error {
				return up(ctx, db, hasty, logger)
			})
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

// up applies one after the other. What changes a table waits for those who use it, and whoever comes to use it then
// waits behind: behind a transaction that stays open, all writers would. So each migration gives up after a moment, which
// rolls it back, and tries again later. One that says NO TRANSACTION, to make an index CONCURRENTLY, holds nobody up and
// may wait.
func up(ctx context.Context, patient, hasty *sql.DB, logger *slog.Logger) error {
	for {
		list, err := status(ctx, patient)
		if err != nil {
			return err
		}
		next := slices.IndexFunc(list, func(m Migration) bool { return !m.Applied() })
		if next < 0 {
			return nil
		}
		waits, err := mayWait(list[next])
		if err != nil {
			return err
		}
		db := hasty
		if waits {
			db = patient
		}
		err = upOne(ctx, db, logger)
		if !waits && inTheWay(err) {
			logger.InfoContext(ctx, "somebody uses what the migration changes; trying again", "file", list[next].Name, "in_use_by", usedBy(ctx, patient))
			err = pause(ctx, retryAfter)
		}
		if err != nil {
			return err
		}
	}
}

// retryAfter is how long those who came to wait behind a migration have for themselves before it tries again.
const retryAfter = time.Second

// inTheWay tells of an error whether the migration has been rolled back for nothing but what others hold: it waited too
// long (lock_not_available), or each for the other (deadlock_detected).
func inTheWay(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refused.Code == "55P03" || refused.Code == "40P01")
}

func upOne(ctx context.Context, db *sql.DB, logger *slog.Logger) error {
	provider, err := newProvider(db)
	if err != nil {
		return err
	}
	result, err := provider.UpByOne(ctx)
	var results []*goose.MigrationResult
	if result != nil {
		results = append(results, result)
	}
	return report(ctx, logger, results, err)
}

// mayWait tells of a migration whether it is one of several transactions.
func mayWait(m Migration) (bool, error) {
	text, err := files.ReadFile(m.Name + ".sql")
	return bytes.Contains(text, []byte("-- +goose NO TRANSACTION")), err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
