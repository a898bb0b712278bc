-- Where in the log what was created since a time may be, for replay to whoever asks for more than what is addressed to
-- one user.

-- +goose Up

-- In place of an index, which every writer would pay for. (Even the cheapest, BRIN: of 183,700 instructions that a
-- transaction of one event takes, 5,300 more where the table has grown since the last vacuum, and 13,900 more where space
-- that was freed is used again. Measured as in the first migration.) Once a minute, the server that records a position
-- looks at what has come since the last one, by the index on txid.
-- Both ends are noted: by the latest, what came before a time is left out; by the earliest, a replay finds what it
-- begins with without looking through all that came later.
ALTER TABLE notifier.positions ADD COLUMN earliest timestamptz, ADD COLUMN latest timestamptz;
COMMENT ON COLUMN notifier.positions.earliest IS
    'no event between the position before and this one was created earlier; null: nobody knows';
COMMENT ON COLUMN notifier.positions.latest IS
    'no event between the position before and this one was created later; null: nobody knows';

-- What was restored gets ids of transactions that lie between older positions, of which it is not known any more then.
ALTER FUNCTION notifier.adopt(xid8) RENAME TO adopt_rows;
REVOKE EXECUTE ON FUNCTION notifier.adopt_rows(xid8) FROM notifier_server;

-- +goose StatementBegin
CREATE FUNCTION notifier.adopt(INOUT after xid8, OUT restamped integer, OUT done boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT a.after, a.restamped, a.done
    INTO after, restamped, done
    FROM notifier.adopt_rows(adopt.after) AS a;
    IF restamped > 0 THEN
        UPDATE notifier.positions
        SET earliest = NULL, latest = NULL
        WHERE latest IS NOT NULL;
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.adopt(xid8) IS 'Takes over some rows that were written elsewhere. For the servers.';
REVOKE ALL ON FUNCTION notifier.adopt(xid8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notifier.adopt(xid8) TO notifier_server;

-- +goose Down

DROP FUNCTION notifier.adopt(xid8);
ALTER FUNCTION notifier.adopt_rows(xid8) RENAME TO adopt;
GRANT EXECUTE ON FUNCTION notifier.adopt(xid8) TO notifier_server;
ALTER TABLE notifier.positions DROP COLUMN earliest, DROP COLUMN latest;
