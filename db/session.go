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

// pooledPlan sets for one transaction what matters of that: a poll may go
// through a pooler, whose sessions are others' too.
const pooledPlan = `-- name: pooled_plan
SELECT set_config('plan_cache_mode', 'force_generic_plan', true),
	set_config('enable_seqscan', 'off', true),
	set_config('enable_bitmapscan', 'off', true),
	set_config('enable_hashjoin', 'off', true),
	set_config('enable_mergejoin', 'off', true),
	set_config('enable_material', 'off', true),
	set_config('jit', 'off', true),
	set_config('work_mem', '32MB', true),
	set_config('statement_timeout', '0', true)`

// openFeedSession connects to Postgres for live reading: directly, unless it is
// only to be polled.
func (d *DB) openFeedSession(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, d.listen.Copy())
	if err != nil {
		return nil, err // it says where it tried to connect, without the password
	}
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	err = checkServer(ctx, conn)
	if err == nil && !d.config.PollOnly {
		_, err = conn.Exec(ctx, feedSession, pgx.QueryExecModeSimpleProtocol)
		err = wrap("prepare the session", err)
	}
	if err != nil {
		closeConn(conn)
		return nil, err
	}
	return conn, nil
}
