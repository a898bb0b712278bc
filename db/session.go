package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrStandby says that the server is in recovery. The snapshot of a standby
// does not list the transactions in progress, so nothing exact can be read
// there.
var ErrStandby = errors.New("the server is a standby (in recovery); notifier needs the primary")

// checkServer refuses a server that can't be read exactly.
func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var standby bool
	var encoding string
	err := conn.QueryRow(ctx, `-- name: check_server
		SELECT pg_is_in_recovery(), current_setting('server_encoding')`).Scan(&standby, &encoding)
	if err != nil {
		return fmt.Errorf("check the server: %w", err)
	}
	if standby {
		return ErrStandby
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database is encoded in %s; notifier needs UTF8", encoding)
	}
	return nil
}

// The feed's statements have parameters whose values the planner can't learn
// from; one generic plan over the index on txid is right for all of them. A
// bitmap scan is not: it never marks the entries of rolled back rows as dead, so
// it would go to each of them in the table again with every read.
const feedSession = `-- name: feed_session
SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET search_path = '';
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET work_mem = '32MB';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_session_timeout = 0;
SET idle_in_transaction_session_timeout = 0;`

// openFeedSession connects directly to Postgres for live reading.
func openFeedSession(ctx context.Context, c *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, c.Copy())
	if err != nil {
		return nil, err // it says where it tried to connect, without the password
	}
	err = checkServer(ctx, conn)
	if err == nil {
		_, err = conn.Exec(ctx, feedSession, pgx.QueryExecModeSimpleProtocol)
		err = wrap("prepare the session", err)
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}
