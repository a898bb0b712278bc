-- What was created since a time, for replay to whoever asks for more than what is addressed to one user.

-- +goose NO TRANSACTION

-- +goose Up

-- BRIN: the log grows at one end, so the times of a megabyte of it lie close together, and its least and greatest are all
-- that is kept of them. At 10^9 rows that is some megabytes. Concurrently, and without limits, as in 00004_latest.sql.
-- autosummarize is off: what was written since the last vacuum is looked through as it is, which is little, as
-- autovacuum comes after a fiftieth; and a row does not ask for a worker.
SELECT set_config(name, '0', false)
FROM pg_settings
WHERE name IN ('lock_timeout', 'transaction_timeout');
DROP INDEX CONCURRENTLY IF EXISTS notifier.events_created_at;
CREATE INDEX CONCURRENTLY events_created_at ON notifier.events USING brin (created_at) WITH (autosummarize = off);
RESET lock_timeout; -- the next migrations' own locks would keep writers waiting

-- +goose Down

SELECT set_config(name, '0', false)
FROM pg_settings
WHERE name IN ('lock_timeout', 'transaction_timeout');
DROP INDEX CONCURRENTLY IF EXISTS notifier.events_created_at;
RESET lock_timeout;
