package db

import "github.com/jackc/pgx/v5"

// ownTransaction begins what takes several round trips. If this process is stopped in
// between, or its machine is cut off, what it has locked must not stay so: somebody who
// repeats a push at another instance waits for the key. After that time Postgres ends the
// session, and with it the transaction; what of it was not committed is repeated, as
// after any other broken connection. A statement by itself needs no such bound: Postgres
// ends it without us.
var ownTransaction = pgx.TxOptions{BeginQuery: `-- name: begin
	BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
	SET LOCAL idle_in_transaction_session_timeout = '5s'`}

// pushTransaction leaves a push the time of [publishTimeout] to reach Postgres, which
// counts a session as idle until it has the whole of a statement: 16 MB through a
// narrow line take longer than the time above. Nothing is locked by then; the
// statement itself sets that time.
var pushTransaction = pgx.TxOptions{BeginQuery: `-- name: begin_push
	BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
	SET LOCAL idle_in_transaction_session_timeout = '60s'`}
