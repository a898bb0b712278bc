-- Where a reader that was away goes on: whose positions these are, what the present one is, and what becomes of rows
-- that were written elsewhere.

-- +goose Up

-- A position means something in one life of the log only: in this cluster, in this database, in this very table, and
-- since the last time a standby was promoted or a backup restored to a moment (a timeline).
CREATE TABLE notifier.histories (
    history           bytea PRIMARY KEY,
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    database_id       oid NOT NULL,
    events_id         oid NOT NULL,
    began_at          timestamptz NOT NULL DEFAULT pg_catalog.now(),
    up_to             pg_snapshot
);
COMMENT ON TABLE notifier.histories IS
    'The lives of this log. It is dumped and restored with the events, and so tells whose transaction ids they carry.';
COMMENT ON COLUMN notifier.histories.history IS 'the beginning of the hash of the next four, as cursors carry it';
COMMENT ON COLUMN notifier.histories.up_to IS
    'up to here nothing of it was lost on the way to the present one; null: the present one, or nobody knows';

-- The timeline is that of the log of transactions: the control file may still have the old one after a promotion.
-- plpgsql, because an SQL function would be planned anew with every call.
-- +goose StatementBegin
CREATE FUNCTION notifier.identity(
    OUT history bytea, OUT system_identifier bigint, OUT timeline bigint, OUT database_id oid, OUT events_id oid
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    system_identifier := (pg_control_system()).system_identifier;
    timeline := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
    database_id := (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());
    events_id := 'notifier.events'::regclass;
    history := substr(sha256(convert_to(
        concat_ws(' ', system_identifier, timeline, database_id, events_id), 'UTF8')), 1, 5);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.identity() IS 'The present life of the log, and its name.';

-- What is here now was written here.
INSERT INTO notifier.histories (history, system_identifier, timeline, database_id, events_id)
SELECT history, system_identifier, timeline, database_id, events_id
FROM notifier.identity();

-- The oldest position is the floor of retention: from there on nothing is missing. This one says that nothing ever was
-- removed. It goes with the first that is older than the retention.
INSERT INTO notifier.positions (taken_at, position)
SELECT '-infinity', '1:1:'
WHERE NOT EXISTS (SELECT FROM notifier.positions);

-- Tells an event from another one that came to the same ids. The same is in Go (notifier.AnchorOf), which has no
-- infinities and lets microseconds overflow.
-- +goose StatementBegin
CREATE FUNCTION notifier.anchor_mark(
    id bigint, txid xid8, created_at timestamptz, type text, action text, key text
) RETURNS bytea
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    micros numeric := CASE created_at
        WHEN 'infinity' THEN 9224318015999000000
        WHEN '-infinity' THEN -210866803200000000
        ELSE 1000000 * extract(epoch FROM date_trunc('second', created_at)) -- which alone is rounded, in far years
            + extract(microseconds FROM created_at)::bigint % 1000000
    END;
BEGIN
    IF micros > 9223372036854775807 THEN
        micros := micros - 18446744073709551616;
    END IF;
    RETURN substr(sha256(convert_to(
        concat(id, ' ', txid, ' ', trunc(micros), ' ', type, ' ', action, ' ', key), 'UTF8')), 1, 4);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.anchor_mark(bigint, xid8, timestamptz, text, text, text) IS 'Tells an event from others with its ids.';

-- The position of the statement that calls this, which is why it is STABLE: a VOLATILE function has a later snapshot.
-- A transaction's own id is not in its snapshot, but what it has written is still to come.
-- xmax is lowered to what is beyond the newest event (after a crash, ids that were not written to disk are handed out
-- again), but not below a position that retention knows: if the newest events are gone, it would be behind the floor.
-- The newest event is looked for between the transactions in progress, from above, as one of them may have written a
-- million rows that nobody sees. 3 is the smallest id of a transaction, and what notifier.ended_id falls back to.
-- +goose StatementBegin
CREATE FUNCTION notifier.beginning(
    OUT history bytea, OUT "position" pg_snapshot, OUT anchor_id bigint, OUT anchor_txid xid8, OUT anchor_mark bytea
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT xid8 := pg_current_xact_id_if_assigned();
    seen CONSTANT pg_snapshot := pg_current_snapshot();
    running xid8[] := ARRAY(SELECT pg_snapshot_xip(seen));
    newest xid8;
    above xid8;
    below xid8 := pg_snapshot_xmax(seen);
    past bigint;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'a standby has no position: what is in progress on the primary is not known here',
            HINT = 'Read the page and notifier.position() from the primary.';
    END IF;
    history := (notifier.identity()).history;
    IF own < below THEN
        running := ARRAY(SELECT id FROM unnest(running || own) AS id ORDER BY id);
    END IF;
    FOR i IN REVERSE cardinality(running)..0 LOOP
        above := CASE i WHEN 0 THEN '0' ELSE running[i] END;
        SELECT e.id, e.txid, notifier.anchor_mark(e.id, e.txid, e.created_at, e.type, e.action, e.key)
        INTO anchor_id, anchor_txid, anchor_mark
        FROM notifier.events AS e
        WHERE e.txid > above
          AND e.txid < below
        ORDER BY e.txid DESC
        LIMIT 1;
        EXIT WHEN FOUND;
        below := above;
    END LOOP;
    SELECT pg_snapshot_xmax(p.position) INTO newest
    FROM notifier.positions AS p
    ORDER BY p.taken_at DESC
    LIMIT 1;
    past := LEAST(
        pg_snapshot_xmax(seen)::text::bigint,
        GREATEST(anchor_txid::text::bigint + 1, newest::text::bigint, 4));
    IF cardinality(running) > 0 THEN
        running := ARRAY(SELECT id FROM unnest(running) AS id WHERE id < past::text::xid8 ORDER BY id);
    END IF;
    "position" := concat(COALESCE(running[1]::text::bigint, past), ':', past, ':', array_to_string(running, ','));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.beginning() IS 'The position of the statement that calls this, and what belongs to it in a cursor. For the servers.';

-- Writes a cursor as the servers do (notifier.CursorSigner in Go).
-- SECURITY DEFINER: it signs, and looks at the newest event. What it gives away are transaction ids, and 32 bits of the
-- hash of that event: everybody may have it who has USAGE on the schema. Nobody can have it signed anything else.
-- It takes 0.2 to 0.4 ms with 16 transactions in progress. (pgbench -M prepared, one client, two busy processors,
-- PostgreSQL 15, 2026-11-22.)
-- +goose StatementBegin
CREATE FUNCTION notifier.position() RETURNS text
LANGUAGE plpgsql STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b CONSTANT record := notifier.beginning();
    past CONSTANT bigint := pg_snapshot_xmax(b.position)::text::bigint;
    distances CONSTANT bigint[] := ARRAY( -- of each transaction in progress to the next
        SELECT COALESCE(lag(running.id) OVER (ORDER BY running.id DESC), past) - running.id
        FROM (SELECT xip::text::bigint AS id FROM pg_snapshot_xip(b.position) AS xip) AS running
        ORDER BY running.id DESC
    );
    numbers bigint[] := ARRAY[past, cardinality(distances)] || distances || COALESCE(b.anchor_id, 0);
    n bigint;
    hex text := '01' || encode(b.history, 'hex');
    raw bytea;
    key bytea;
BEGIN
    IF b.anchor_id IS NOT NULL THEN
        numbers := numbers || past - b.anchor_txid::text::bigint;
    END IF;
    FOREACH n IN ARRAY numbers LOOP -- as unsigned varints
        WHILE n > 127 LOOP
            hex := hex || to_hex(n & 127 | 128);
            n := n >> 7;
        END LOOP;
        hex := hex || lpad(to_hex(n), 2, '0');
    END LOOP;
    raw := decode(hex, 'hex') || COALESCE(b.anchor_mark, '');
    key := sha256((SELECT secret FROM notifier.signing_key) || 'notifier cursor');
    raw := raw || substr(sha256(key || sha256(key || raw)), 1, 8);
    RETURN translate(encode(raw, 'base64'), E'+/=\n', '-_');
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.position() IS
    'The cursor of the state that the calling statement reads: subscribe with it, and what that did not see comes, and nothing else.';

-- What rows get that came from elsewhere: the id of a transaction that every reader has passed, and that retention will
-- come to no earlier than to what is written now. (It is that of an event, or 3, which is older than any.)
-- +goose StatementBegin
CREATE FUNCTION notifier.ended_id() RETURNS xid8
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN GREATEST(3, (
        SELECT pg_snapshot_xmax(p.position)::text::bigint - 1
        FROM notifier.positions AS p
        WHERE p.taken_at < now() - interval '1 minute'
        ORDER BY p.taken_at DESC
        LIMIT 1
    ))::text::xid8;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.ended_id() IS 'The transaction id that marks an event as one that everybody has.';

-- Takes over rows that were written elsewhere and came with a dump. Their transaction ids mean nothing here: those that
-- are still to be given out here would be delivered again when they are, and are hidden from replay until then. They are
-- told by being visible though their transaction has not ended. All others are of the past, here as there.
-- It does some at a time, so that it holds no lock for long; whoever calls it calls it again, with what it returned,
-- until it is done. Positions of another cluster mean nothing either. If only the database or the table is another,
-- the ids were given out by the same counter, and what is not ahead of it (it was set back, to a backup) is right.
-- A restore loads a table, then gives it indexes. Until it has, this waits for it: what is there may not be all.
-- The last part is flushed: what gets a lower id here than a row that stays as it is, is on the disk.
-- +goose StatementBegin
CREATE FUNCTION notifier.adopt(INOUT after xid8, OUT restamped integer, OUT done boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = 0
AS $$
DECLARE
    most CONSTANT int := 5000;
    ours CONSTANT record := notifier.identity();
    known boolean;
    strange boolean;
    elsewhere boolean;
    ids bigint[];
    last bigint;
BEGIN
    restamped := 0;
    done := true;
    FOR attempt IN 1..2 LOOP
        SELECT
            COALESCE(bool_or(h.history = ours.history), false),
            COALESCE(bool_or((h.system_identifier, h.database_id, h.events_id)
                <> (ours.system_identifier, ours.database_id, ours.events_id)), true),
            COALESCE(bool_or(h.system_identifier <> ours.system_identifier), true)
        INTO known, strange, elsewhere
        FROM notifier.histories AS h;
        IF known AND NOT strange THEN
            RETURN;
        END IF;
        PERFORM pg_advisory_xact_lock(1853059947, 1); -- another instance may be at it, or be done
    END LOOP;
    IF EXISTS (
        SELECT
        FROM unnest(ARRAY['notifier.events', 'notifier.histories', 'notifier.positions']::regclass[]) AS wanted (id)
        WHERE NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = wanted.id AND i.indisprimary)
    ) OR to_regclass('notifier.events_txid') IS NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'notifier''s tables are still being restored: they have no indexes yet';
    END IF;
    IF strange THEN
        DELETE FROM notifier.positions AS p
        WHERE elsewhere OR pg_snapshot_xmax(p.position) > pg_snapshot_xmax(pg_current_snapshot());
        INSERT INTO notifier.positions (taken_at, position)
        SELECT '-infinity', '1:1:'
        WHERE NOT EXISTS (SELECT FROM notifier.positions);
        SELECT array_agg(e.id), max(e.txid::text::bigint)
        INTO ids, last
        FROM (
            (
                SELECT id, txid
                FROM notifier.events
                WHERE txid = ANY (ARRAY(SELECT pg_snapshot_xip(pg_current_snapshot())))
                LIMIT most
            )
            UNION ALL
            (
                SELECT id, txid
                FROM notifier.events
                WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())
                  AND txid >= after
                ORDER BY txid
                LIMIT most
            )
        ) AS e;
        IF cardinality(ids) > 0 THEN
            UPDATE notifier.events SET txid = notifier.ended_id() WHERE id = ANY (ids);
            after := last::text::xid8;
            restamped := cardinality(ids);
            done := restamped < most;
        END IF;
        IF NOT done THEN
            RETURN;
        END IF;
        IF current_setting('synchronous_commit') = 'off' THEN
            PERFORM set_config('synchronous_commit', 'on', true);
        END IF;
        DELETE FROM notifier.histories AS h
        WHERE (h.system_identifier, h.database_id, h.events_id)
            <> (ours.system_identifier, ours.database_id, ours.events_id);
    END IF;
    INSERT INTO notifier.histories (history, system_identifier, timeline, database_id, events_id)
    VALUES (ours.history, ours.system_identifier, ours.timeline, ours.database_id, ours.events_id)
    ON CONFLICT DO NOTHING;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.adopt(xid8) IS 'Makes what was written elsewhere, and came with a dump, part of this log. For the servers.';

-- Rows that arrive by logical replication carry the transaction ids of their origin: they get that of the transaction
-- that applies them, and are delivered when it commits. What a new subscription copies is past: nobody gets it live.
-- (While it copies, a table's state is d. What its worker brings afterwards was committed meanwhile.)
-- They take no place among the changes of access, as nothing orders one database's commits among another's, and ring
-- no bell, which would keep a subscription from using two-phase commit: the poll finds them. What the origin says of
-- access is true of its own tables. Here it makes the servers ask again, and withhold what they read together with it.
-- The trigger is REPLICA: it is not there for anybody else. (A transaction of one row takes 183,000 instructions with
-- it and without, measured as in the first migration.) It is asked for each row of a copy, hence the setting.
-- SECURITY DEFINER: a subscription may apply rows as a role that has no right on other tables.
-- +goose StatementBegin
CREATE FUNCTION notifier.arrive() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT text := pg_current_xact_id()::text;
    known text[] := string_to_array(current_setting('notifier.arriving', true), ' ');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.txid := OLD.txid;
        NEW.rings := OLD.rings;
        RETURN NEW;
    END IF;
    IF known[1] IS DISTINCT FROM own THEN
        known := ARRAY[own, CASE WHEN EXISTS (
            SELECT
            FROM pg_stat_get_subscription(NULL) AS worker
            JOIN pg_subscription_rel AS r ON r.srsubid = worker.subid AND r.srrelid = worker.relid
            WHERE worker.pid = pg_backend_pid()
              AND r.srsubstate = 'd'
        ) THEN notifier.ended_id()::text ELSE own END];
        PERFORM set_config('notifier.arriving', array_to_string(known, ' '), true);
    END IF;
    NEW.txid := known[2]::xid8;
    NEW.rings := false;
    IF NEW.control LIKE 'access%' THEN
        NEW.control := 'access_changed';
        NEW.payload := NULL;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.arrive() IS 'Makes a row that arrives by logical replication an event of this log.';

CREATE TRIGGER arrival BEFORE INSERT OR UPDATE ON notifier.events
    FOR EACH ROW EXECUTE FUNCTION notifier.arrive();
ALTER TABLE notifier.events ENABLE REPLICA TRIGGER arrival;

REVOKE ALL ON notifier.histories FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.identity(), notifier.anchor_mark(bigint, xid8, timestamptz, text, text, text), notifier.beginning(),
    notifier.ended_id(), notifier.adopt(xid8), notifier.arrive()
    FROM PUBLIC;
GRANT SELECT, UPDATE (up_to) ON notifier.histories TO notifier_server;
GRANT EXECUTE ON FUNCTION
    notifier.identity(), notifier.anchor_mark(bigint, xid8, timestamptz, text, text, text), notifier.beginning(),
    notifier.adopt(xid8)
    TO notifier_server;

-- +goose Down

DROP FUNCTION notifier.position();
DROP FUNCTION notifier.beginning();
DROP FUNCTION notifier.anchor_mark(bigint, xid8, timestamptz, text, text, text);
DELETE FROM notifier.positions WHERE taken_at = '-infinity';
DROP TRIGGER arrival ON notifier.events;
DROP FUNCTION notifier.arrive();
DROP FUNCTION notifier.adopt(xid8);
DROP FUNCTION notifier.ended_id();
DROP FUNCTION notifier.identity();
DROP TABLE notifier.histories;
