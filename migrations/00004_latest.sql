-- The newest events of the types that clients are shown as soon as they subscribe.

-- +goose NO TRANSACTION

-- +goose Up

-- Concurrently, because writers must not wait while 10^9 rows are read; what a build that was broken off has left
-- behind is no index, and goes first.
-- It has the two types whose last event sysadm's clients expect. A transaction of one event of another type takes
-- 181,100 instructions, and 177,700 without the index; with an index of all types it would take 193,700. (Measured as
-- in the first migration.) Found among 10^7 others, a page of one event takes 0.4 ms.
-- It waits for every transaction that there is, without keeping anybody waiting itself, so a limit on that which the
-- role or the database sets would only break it off, each time anew. Not every release knows both settings.
SELECT set_config(name, '0', false)
FROM pg_settings
WHERE name IN ('lock_timeout', 'transaction_timeout');
DROP INDEX CONCURRENTLY IF EXISTS notifier.events_latest;
CREATE INDEX CONCURRENTLY events_latest ON notifier.events (type, id)
    WHERE type IN ('life-preserver', 'system-state');
RESET lock_timeout; -- the next migrations' own locks would keep writers waiting

-- +goose Down

SELECT set_config(name, '0', false)
FROM pg_settings
WHERE name IN ('lock_timeout', 'transaction_timeout');
DROP INDEX CONCURRENTLY IF EXISTS notifier.events_latest;
RESET lock_timeout;
