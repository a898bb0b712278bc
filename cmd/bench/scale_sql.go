//go:build linux

package main

// The log of (j) is written as a superuser may: with transaction ids and times of its own. It looks
// as if a week had written it at a steady rate.
const (
	// rowsOfOne is how many rows a transaction of it has.
	rowsOfOne = 5

	// spendIDs ends so many transactions that have an id, and nothing else: rows must carry ids
	// that have been given out.
	spendIDs = `
DO $$
DECLARE
	id xid8;
BEGIN
	FOR i IN 1..%d LOOP
		id := pg_current_xact_id();
		COMMIT;
	END LOOP;
END
$$`
	nextID = `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`

	// fillRows writes the rows from one number to another. $3 is the first transaction's id, $4
	// the time of row 0, $5 the seconds between two, $6 how many rows there will be.
	// Of ten, six are for one of 100,000 users and the others of one of 1,000 datasets. There are 100
	// types; 1,000 rows for the user reader, and 20 of the type system-state, are spread over all.
	fillRows = `
INSERT INTO notifier.events (txid, created_at, type, action, key, recipient, dataset_id, principal, payload, rings)
SELECT
	($3::bigint + n / 5)::text::xid8,
	$4::timestamptz + n * $5::float8 * interval '1 second',
	CASE WHEN n % ($6::bigint / 20) = 7 THEN 'system-state' ELSE 'topic' || n % 100 END,
	CASE n % 3 WHEN 0 THEN 'create' WHEN 1 THEN 'update' ELSE 'destroy' END,
	((n * 7919) % 1000003)::text,
	CASE WHEN n % ($6::bigint / 1000) = 3 THEN 'reader' WHEN n % 10 < 6 THEN 'user' || (n * 104729) % 100000 END,
	CASE WHEN n % 10 >= 6 THEN 'd' || (n * 31) % 1000 END,
	'user' || n % 1000,
	('{"id":' || n || ',"title":"' || md5(n::text) || '","status":"doing","note":"' || repeat(md5((n + 1)::text), 3) || '"}')::json,
	NULL
FROM generate_series($1::bigint, $2::bigint - 1) AS n
ORDER BY n`

	// Building an index at the end takes a fraction of the time that filling it by the row does.
	secondaryIndexes = `
SELECT format('%I.%I', schemaname, indexname), indexdef
FROM pg_indexes
WHERE schemaname = 'notifier'
	AND tablename = 'events'
	AND indexname <> 'events_pkey'`

	// fillPositions writes a week's positions as the servers would have, one a minute. $1 is the first
	// transaction's id, $2 the time of row 0, $3 the seconds between two rows, $4 their number.
	fillPositions = `
INSERT INTO notifier.positions (taken_at, position, earliest, latest)
SELECT
	$2::timestamptz + minute * interval '1 minute',
	format('%1$s:%1$s:', $1::bigint + least(ceil(minute * 60 / $3::float8), $4::bigint)::bigint / 5)::pg_snapshot,
	$2::timestamptz + (minute - 1) * interval '1 minute' - 5 * $3::float8 * interval '1 second', -- the transaction between
	$2::timestamptz + minute * interval '1 minute'
FROM generate_series(1, 7 * 24 * 60) AS minute`

	tidyUp = `VACUUM (ANALYZE) notifier.events`

	showSizes = `
SELECT c.relname, pg_table_size(c.oid)
FROM pg_class c
WHERE c.oid = 'notifier.events'::regclass
	OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'notifier.events'::regclass)
ORDER BY c.relkind DESC, c.relname`

	// explainAll has the server write the plan of every statement, with what it took, to its log.
	// Without the clock, which would be read twice a row.
	explainAll = `
ALTER DATABASE %[1]s SET session_preload_libraries = 'auto_explain';
ALTER DATABASE %[1]s SET auto_explain.log_min_duration = 0;
ALTER DATABASE %[1]s SET auto_explain.log_analyze = on;
ALTER DATABASE %[1]s SET auto_explain.log_buffers = on;
ALTER DATABASE %[1]s SET auto_explain.log_timing = off;
ALTER DATABASE %[1]s SET auto_explain.log_format = json`
)
