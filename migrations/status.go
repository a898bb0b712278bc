package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// Migration is one step of the schema, and whether a database has it.
type Migration struct {
	Version   int64
	Name      string    // the file's name; empty: a newer binary applied it, this one does not know it
	AppliedAt time.Time // by the database's clock; zero: not applied
}

// Applied tells whether the database has this step.
func (m Migration) Applied() bool { return !m.AppliedAt.IsZero() }

// Status lists every migration that this binary carries or the database has, oldest first. It writes nothing and
// waits for no lock, and asks no more rights than notifier_server has, so a server may call it before it serves.
func Status(ctx context.Context, databaseURL string) ([]Migration, error) {
	var list []Migration
	err := withDatabase(ctx, databaseURL, func(db *sql.DB) (err error) {
		list, err = status(ctx, db)
		return err
	})
	return list, err
}

// Required is the version of the newest migration this binary carries: the least its server can work with.
func Required() int64 {
	list, err := embedded()
	if err != nil {
		panic(err) // the names are part of the binary: a test has read them
	}
	return list[len(list)-1].Version
}

func status(ctx context.Context, db *sql.DB) ([]Migration, error) {
	list, err := embedded()
	if err != nil {
		return nil, err
	}
	applied, err := appliedAt(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	for i, m := range list {
		list[i].AppliedAt = applied[m.Version]
		delete(applied, m.Version)
	}
	for version, at := range applied {
		list = append(list, Migration{Version: version, AppliedAt: at})
	}
	slices.SortFunc(list, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return list, nil
}

// embedded lists the files of this binary, oldest first.
func embedded() ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	list := make([]Migration, 0, len(names))
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("read migration's version: %w", err)
		}
		list = append(list, Migration{Version: version, Name: strings.TrimSuffix(name, ".sql")})
	}
	return list, nil
}

// appliedAt reads goose's table, which a database that was never migrated lacks. The version 0 in it stands for
// the table itself.
func appliedAt(ctx context.Context, db *sql.DB) (map[int64]time.Time, error) {
	applied := make(map[int64]time.Time)
	var exists bool
	if err := db.QueryRowContext(ctx, `-- name: migrations_table_exists
		SELECT to_regclass($1) IS NOT NULL`, versionTable).Scan(&exists); err != nil || !exists {
		return applied, err
	}
	rows, err := db.QueryContext(ctx, `-- name: migrations_applied
		SELECT version_id, tstamp
		FROM `+versionTable+`
		WHERE is_applied AND version_id > 0`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err, below, tells what matters
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at
	}
	return applied, rows.Err()
}

// pending tells whether a file of this binary has not been applied.
func pending(list []Migration) bool {
	return slices.ContainsFunc(list, func(m Migration) bool { return !m.Applied() })
}

// newestApplied is 0 for a database without any. One that this binary has no file for cannot be taken back by it.
func newestApplied(list []Migration) (int64, error) {
	for _, m := range slices.Backward(list) {
		switch {
		case !m.Applied():
			continue
		case m.Name == "":
			return 0, fmt.Errorf("take migration %d back: a newer notifier applied it, and only that can", m.Version)
		default:
			return m.Version, nil
		}
	}
	return 0, nil
}
