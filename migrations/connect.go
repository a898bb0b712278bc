package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// lockID is ours alone. With goose's default an application that migrates with goose, and starts a notifier
// meanwhile, would wait for itself.
const lockID = 1853059945 << 32

// lockRetry is how often an instance looks whether another one is done with migrating. goose's own locker looks once
// a second, and ten instances that start together would take ten seconds.
const lockRetry = 50 * time.Millisecond

var (
	// ErrStandby says that the server is in recovery: the schema can be changed on the primary only.
	ErrStandby = errors.New("the server is a standby in recovery, notifier needs the primary")
	// ErrEncoding says that the database is not in UTF-8, which is all that JSON may be in.
	ErrEncoding = errors.New("the database is not encoded in UTF8")
)

// lockPatience is how much longer than deadlock_timeout a migration waits for a table. Before that Postgres neither ends an
// autovacuum that is in the way, which may go on for hours, nor finds a deadlock.
const lockPatience = 500 * time.Millisecond

// withDatabase runs f with a short-lived pool. Every error leaves without the URL's password: pgx redacts it.
func withDatabase(ctx context.Context, databaseURL string, f func(db *sql.DB) error) error {
	return withSessions(ctx, databaseURL, prepare, f)
}

// withSessions is withDatabase with sessions that are prepared in another way.
func withSessions(ctx context.Context, databaseURL string, prepare func(context.Context, *pgx.Conn) error, f func(db *sql.DB) error) (err error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return fmt.Errorf("read database URL: %w", err)
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepare))
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	return f(db)
}

// prepareHasty is prepare with a bound on the time that a statement waits for a lock: for as long, writers wait behind it,
// who would not have to wait for the transaction that is in its way.
func prepareHasty(ctx context.Context, conn *pgx.Conn) error {
	if err := prepare(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, `-- name: migrations_patience
		SELECT set_config('lock_timeout', (setting::int + $1)::text, false)
		FROM pg_settings
		WHERE name = 'deadlock_timeout'`, lockPatience.Milliseconds())
	return err
}

// prepare makes a session independent of what its role has set, and refuses a server we cannot work with. goose
// writes its times without a zone, hence UTC.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `-- name: migrations_session
		SET timezone = 'UTC';
		SET search_path = pg_catalog;
		SET statement_timeout = 0;
		SET idle_session_timeout = 0`); err != nil {
		return err
	}
	var standby, utf8 bool
	if err := conn.QueryRow(ctx, `-- name: migrations_server
		SELECT pg_is_in_recovery(), current_setting('server_encoding') = 'UTF8'`).Scan(&standby, &utf8); err != nil {
		return err
	}
	switch {
	case standby:
		return ErrStandby
	case !utf8:
		return ErrEncoding
	default:
		return nil
	}
}

// locked runs f while this session, and no other one, may change the schema. The lock is around all that goose does:
// by itself goose would create its table before it locks.
func locked(ctx context.Context, db *sql.DB, f func(conn *sql.Conn) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	// The session ends with the pool, and the lock with the session.
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := lock(ctx, conn); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	return f(conn)
}

// lock tries again and again, and does not wait inside Postgres: a waiting statement holds a snapshot, and CREATE
// INDEX CONCURRENTLY in a migration would wait for that in turn.
func lock(ctx context.Context, conn *sql.Conn) error {
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		var ours bool
		if err := conn.QueryRowContext(ctx, `-- name: migrations_lock
			SELECT pg_try_advisory_lock($1)`, int64(lockID)).Scan(&ours); err != nil || ours {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// createSchema makes the home of goose's table. It looks first, because CREATE SCHEMA IF NOT EXISTS asks for the
// right to create one even where it is there, made by an administrator.
func createSchema(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `-- name: migrations_create_schema
		DO $$
		BEGIN
			IF to_regnamespace('notifier') IS NULL THEN
				CREATE SCHEMA notifier;
			END IF;
		END
		$$`)
	if err != nil {
		return fmt.Errorf("create schema notifier: %w", err)
	}
	return nil
}

// dropSchema removes what goose left. A schema that holds something that is not ours, or belongs to somebody else,
// stays.
func dropSchema(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, `-- name: migrations_drop_table
		DROP TABLE `+versionTable); err != nil {
		return fmt.Errorf("drop table %s: %w", versionTable, err)
	}
	_, err := conn.ExecContext(ctx, `-- name: migrations_drop_schema
		DROP SCHEMA notifier`)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && (pgErr.Code == "2BP01" || pgErr.Code == "42501") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("drop schema notifier: %w", err)
	}
	return nil
}
