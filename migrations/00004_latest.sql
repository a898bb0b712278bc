-- The newest events of the types that clients are shown as soon as they subscribe.

-- +goose NO TRANSACTION

-- +goose Up

-- Concurrently, because writers must not wait while 10^9 rows are read; what a build that was broken off has left
-- behind is no index, and goes first.
-- Of the types that sysadm's clients know by this. Every other event is not in it and costs its writer the look at
-- the predicate: see LATEST_COST.
DROP INDEX CONCURRENTLY IF EXISTS notifier.events_latest;
CREATE INDEX CONCURRENTLY events_latest ON notifier.events (type, id)
    WHERE type IN ('life-preserver', 'system-state');

-- +goose Down

DROP INDEX CONCURRENTLY IF EXISTS notifier.events_latest;
