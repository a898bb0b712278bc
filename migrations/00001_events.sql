-- The log of events, its doorbell, and who may do what. The names are the contract with applications.

-- +goose Up

-- Roles belong to the whole cluster: another database may have made them, or be making them right now.
-- +goose StatementBegin
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['notifier_publisher', 'notifier_server'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database's migration was first
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING MESSAGE = pg_catalog.format(
                    'role %I may not create roles: have an administrator run once '
                    '"CREATE ROLE notifier_publisher NOLOGIN; CREATE ROLE notifier_server NOLOGIN;", then migrate again',
                    current_user);
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- type, action and key may be null: an application's trigger that computes a null must not fail its commit over it.
-- payload and original are json, not jsonb: they reach the client byte for byte as they were written.
CREATE TABLE notifier.events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txid       xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    type       text DEFAULT '',
    action     text DEFAULT '',
    key        text DEFAULT '',
    recipient  text,
    dataset_id text,
    principal  text,
    payload    json,
    original   json,
    control    text,
    rings      boolean
) WITH (
    -- The log grows at one end and is cut at the other, by the minute: small shares keep the visibility map,
    -- the statistics and the indexes fresh at 10^9 rows, where the default of a fifth would mean weeks.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02,
    -- Giving empty pages back to the system locks the table against writers; the log needs them again anyway.
    vacuum_truncate = off,
    toast.vacuum_truncate = off
);

COMMENT ON TABLE notifier.events IS
    'Everything that happens, in one log. Applications insert rows, or call notifier.publish().';
COMMENT ON COLUMN notifier.events.txid IS 'the writing transaction, by which readers know what is new to them';
COMMENT ON COLUMN notifier.events.created_at IS 'orders replay by time, nothing else; it may come from the client';
COMMENT ON COLUMN notifier.events.key IS 'the object the event is about';
COMMENT ON COLUMN notifier.events.recipient IS 'the one user the event is for; null: not addressed to one user';
COMMENT ON COLUMN notifier.events.dataset_id IS 'the access scope; null: none';
COMMENT ON COLUMN notifier.events.principal IS 'who caused it';
COMMENT ON COLUMN notifier.events.control IS 'an order to the servers, never shown to a client; null for application events';
COMMENT ON COLUMN notifier.events.rings IS
    'true: the doorbell is looked after when the transaction ends; false: whether a change of access came before or after is not known';

-- Each index costs every writer. One is for reading what is new, one for replay to a user; more must earn it.
CREATE INDEX events_txid ON notifier.events (txid);
-- Only the beginning of a recipient is indexed: an entry has a limit, and a longer text must not fail a commit.
CREATE INDEX events_recipient ON notifier.events (pg_catalog."left"(recipient, 256), created_at, id)
    WHERE recipient IS NOT NULL;

CREATE TABLE notifier.positions (
    taken_at timestamptz PRIMARY KEY DEFAULT pg_catalog.now(),
    position pg_snapshot NOT NULL
);
COMMENT ON TABLE notifier.positions IS 'What was visible when, once a minute: retention goes by it. Written by the servers.';

CREATE TABLE notifier.idempotency_keys (
    principal  text NOT NULL DEFAULT '',
    key        text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_created_at ON notifier.idempotency_keys (created_at);
COMMENT ON TABLE notifier.idempotency_keys IS 'The keys of stored pushes: a push that is sent again stores nothing.';

-- The doorbell. NOTIFY makes commits queue one behind another, so of the transactions that commit at one time only
-- one rings: the one that gets the gate. The others are silent, and hold the tail lock shared until they have ended,
-- so that the reader whom the bell woke sees that somebody is still in flight, and reads again.
-- The tail comes first. With the gate first, a silent transaction could be between the two locks while the ringer
-- ends and the reader finds the tail free: nobody would look again. There are two locks that serve as tail, 1 and 3:
-- while a change of access waits for the first to be free (see hold_publishers), the second is taken. Without either (a
-- reader is just looking at them) a transaction rings, and leaves the gate alone: whoever has the gate has a tail too.
-- There is a gate for each twentieth of a second of a minute. A transaction may keep the one it got for long (it has
-- set its constraints immediate, or waits after its doorbell): with a single gate all others would be silent for as
-- long, and the reader, whom nobody wakes, would find them by its slow poll only.
-- Here everything is qualified, the operators too, in place of SET search_path, which would cost each commit 14,000
-- instructions more; and only pg_catalog is named, because the committing role need not have any right on the schema
-- (it may write through a view). No commit but one that has to wait pays for a subtransaction (EXCEPTION).
-- Whoever is past this has a place among the changes of access: it holds a tail, or lock 4, until it has ended. If none of
-- them is to be had, a change of access is just committing, and this commit waits until it has. Commonly that is a moment.
-- It is never more than half a second (then the two have no order), for the change may in turn be waiting for us: in a
-- remote transaction, where Postgres does not see it, or for a row, where it would fail one of the two after
-- deadlock_timeout, which is twice as long. A tenth would do for that; but a disk or a standby may be slow for a moment,
-- and whoever commits at such a time waits for it anyway. Nor is it more than half of what statement_timeout and
-- transaction_timeout still leave, or the commit would fail of it.
-- +goose StatementBegin
CREATE FUNCTION notifier.ring() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (CASE WHEN pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 1)
             THEN pg_catalog.pg_try_advisory_xact_lock(1853059946,
                 pg_catalog.date_part('milliseconds', pg_catalog.clock_timestamp())::pg_catalog.int4
                     OPERATOR(pg_catalog./) 50)
             WHEN pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 3)
             THEN pg_catalog.pg_try_advisory_xact_lock(1853059946,
                 pg_catalog.date_part('milliseconds', pg_catalog.clock_timestamp())::pg_catalog.int4
                     OPERATOR(pg_catalog./) 50)
             ELSE true END)
    THEN
        IF NOT (CASE WHEN pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 3) THEN true
                     ELSE pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 4) END)
        THEN
            DECLARE
                patience CONSTANT pg_catalog.int4 := (
                    SELECT LEAST(500, pg_catalog.min(s.setting::pg_catalog.float8 OPERATOR(pg_catalog.-)
                        1000 OPERATOR(pg_catalog.*) pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
                            OPERATOR(pg_catalog.-) CASE
                                WHEN s.name OPERATOR(pg_catalog.=) 'statement_timeout' THEN pg_catalog.statement_timestamp()
                                ELSE pg_catalog.transaction_timestamp() END)) OPERATOR(pg_catalog./) 2)::pg_catalog.int4
                    FROM pg_catalog.pg_settings s
                    WHERE s.name OPERATOR(pg_catalog.=) ANY (ARRAY['statement_timeout', 'transaction_timeout'])
                      AND s.setting OPERATOR(pg_catalog.<>) '0'
                );
            BEGIN
                IF patience OPERATOR(pg_catalog.<) 1 THEN
                    RAISE lock_not_available;
                END IF;
                PERFORM pg_catalog.set_config('notifier.lock_timeout', pg_catalog.current_setting('lock_timeout'), true);
                PERFORM pg_catalog.set_config('lock_timeout', patience::pg_catalog.text, true);
                PERFORM pg_catalog.pg_advisory_xact_lock_shared(1853059945, 3);
                PERFORM pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('notifier.lock_timeout'), true);
                IF NOT pg_catalog.pg_try_advisory_xact_lock(1853059946,
                    pg_catalog.date_part('milliseconds', pg_catalog.clock_timestamp())::pg_catalog.int4
                        OPERATOR(pg_catalog./) 50)
                THEN
                    RETURN NULL;
                END IF;
            EXCEPTION
                WHEN lock_not_available OR deadlock_detected THEN
                    NULL; -- which takes the setting back, too
            END;
        END IF;
        -- A full queue would fail the commit: well before that, stay silent. The readers' poll finds the rows.
        IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5::pg_catalog.float8 THEN
            NOTIFY notifier;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.ring() IS 'Wakes the readers at the end of a transaction, without making other writers wait.';

-- Whether a transaction has ring() called when it ends is settled with its first row, by a column's default. (A WHEN
-- condition is parsed anew with each statement, a default is part of a prepared plan, and no call of a function of
-- ours. One transaction of one row takes 106,000 instructions without a doorbell, and 141,000 with this one when it is
-- silent; a WHEN condition that calls a function for the same costs 18,000 more. PostgreSQL 15, a prepared INSERT in a
-- single-user backend under valgrind --tool=callgrind, 2026-11-22.)
-- A transaction that is a single statement is about to end: it takes its two locks here, and if it may be silent, that
-- is all. (If it takes long after all, the reader sees its tail, and looks again and again.) It is told by the time: of a
-- prepared statement, Bind and Execute come 3 to 14 microseconds apart (32 writers on 2 processors), while a client that
-- says BEGIN first takes 24 at least. Where that guess is wrong, nothing is but the cost. Any other transaction, and
-- whoever must ring, has the trigger do it.
-- The first row that needs the trigger says so for the rest of the transaction, so that a bulk insert queues one row
-- and not all. A savepoint that is rolled back undoes that along with the row.
-- Where the doorbell is off, the transaction must not hold the tail (it may be prepared, and stay for long) and has no
-- trigger to wait in at its end. So it takes its place among the changes of access here, by a lock of its own kind,
-- without waiting; a row that is not given one, because a change is just committing, says so.
-- CASE, because AND and OR promise no order.
ALTER TABLE notifier.events ALTER COLUMN rings SET DEFAULT
    CASE pg_catalog.current_setting('notifier.doorbell', true)
        WHEN 'off' THEN CASE WHEN pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 4) THEN NULL ELSE false END
        WHEN 'queued' THEN NULL
        ELSE CASE WHEN CASE
            WHEN pg_catalog.statement_timestamp() > pg_catalog.transaction_timestamp() + interval '20 microseconds' THEN true
            WHEN pg_catalog.pg_try_advisory_xact_lock_shared(1853059945, 1)
            THEN pg_catalog.pg_try_advisory_xact_lock(1853059946,
                pg_catalog.date_part('milliseconds', pg_catalog.clock_timestamp())::pg_catalog.int4 / 50)
            ELSE true
        END THEN pg_catalog.set_config('notifier.doorbell', 'queued', true) IS NOT NULL END
    END;

-- WHEN is not deferred: it is asked with each row.
CREATE CONSTRAINT TRIGGER doorbell
    AFTER INSERT ON notifier.events
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.rings)
    EXECUTE FUNCTION notifier.ring();

-- For the reader: false means that a transaction is in flight that was silent, or made others silent: after the next
-- read, look again. Call it in a transaction of its own, ended at once, before the one that reads. It asks for both
-- tails, and for the present gate too, because Postgres gives a transaction's locks back one by one: a ringer that has
-- given back the tail, and not yet the gate, still silences others. The numbers of the locks are in this file only
-- (1853059945 is "noti", 1853059946 the next).
CREATE FUNCTION notifier.try_tail() RETURNS boolean
LANGUAGE sql
AS $$
    SELECT CASE
        WHEN NOT pg_catalog.pg_try_advisory_xact_lock(1853059945, 1) THEN false
        WHEN NOT pg_catalog.pg_try_advisory_xact_lock(1853059945, 3) THEN false
        ELSE pg_catalog.pg_try_advisory_xact_lock(1853059946,
            pg_catalog.date_part('milliseconds', pg_catalog.clock_timestamp())::pg_catalog.int4
                OPERATOR(pg_catalog./) 50)
    END
$$;
COMMENT ON FUNCTION notifier.try_tail() IS 'Whether no silent writer can be in flight. For the servers.';

-- For a transaction that is about to commit a change of access: true means that each transaction that publishes has
-- ended, or will commit after this one. It takes the first tail, and lock 4, and last the second tail: until it has the
-- others, publishers go by that one, so nobody waits while this one waits for somebody who is stuck. (Lock 4 is that of
-- publishers without a doorbell, and of those that a reader kept from both tails.)
-- It waits for a tenth of a second at each lock and then gives up, leaving none behind: nobody may be kept waiting for
-- somebody else who is stuck, nor so long that Postgres looks for a deadlock (deadlock_timeout) and fails a commit; nor,
-- at all three, longer than for three quarters of what is left of statement_timeout and transaction_timeout. And it does
-- not wait for anybody who waits for this very transaction.
-- (A session_replication_role that silences the doorbell, and logical replication into this table, are outside of it.)
-- +goose StatementBegin
CREATE FUNCTION notifier.hold_publishers() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    patience CONSTANT int := (
        SELECT LEAST(100, min(s.setting::float8 - 1000 * date_part('epoch', clock_timestamp() - CASE s.name
            WHEN 'statement_timeout' THEN statement_timestamp() ELSE transaction_timestamp() END)) / 4)
        FROM pg_settings s
        WHERE s.name IN ('statement_timeout', 'transaction_timeout') AND s.setting <> '0'
    );
BEGIN
    IF NOT pg_try_advisory_xact_lock(1853059945, 1) OR NOT pg_try_advisory_xact_lock(1853059945, 4) THEN
        IF EXISTS (
            SELECT
            FROM pg_locks
            WHERE locktype = 'advisory'
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND classid = 1853059945
              AND objsubid = 2
              AND pid <> pg_backend_pid()
              AND pg_backend_pid() = ANY (pg_blocking_pids(pid))
        ) THEN
            RAISE lock_not_available;
        END IF;
    END IF;
    IF patience < 1 THEN
        RAISE lock_not_available;
    END IF;
    PERFORM set_config('lock_timeout', patience::text, true);
    PERFORM pg_advisory_xact_lock(1853059945, 1);
    PERFORM pg_advisory_xact_lock(1853059945, 4);
    PERFORM pg_advisory_xact_lock(1853059945, 3);
    RETURN true;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RETURN false;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.hold_publishers() IS 'Orders the calling transaction among those that publish. For its very end.';

-- plpgsql, because an SQL function's INSERT would be planned anew with every call.
-- +goose StatementBegin
CREATE FUNCTION notifier.publish(
    type       text,
    action     text DEFAULT '',
    key        text DEFAULT '',
    payload    json DEFAULT NULL,
    recipient  text DEFAULT NULL,
    dataset_id text DEFAULT NULL,
    original   json DEFAULT NULL,
    principal  text DEFAULT NULL,
    created_at timestamptz DEFAULT pg_catalog.clock_timestamp()
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notifier.events
        (created_at, type, action, key, recipient, dataset_id, principal, payload, original)
    VALUES
        (COALESCE(publish.created_at, pg_catalog.clock_timestamp()), publish.type, publish.action, publish.key,
         publish.recipient, publish.dataset_id, publish.principal, publish.payload, publish.original);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.publish(text, text, text, json, text, text, json, text, timestamptz) IS
    'Publishes an event when the calling transaction commits. For use in triggers and transactions.';

-- SECURITY DEFINER: no role may write control rows itself.
-- +goose StatementBegin
CREATE FUNCTION notifier.drop_user(user_id text, by text DEFAULT session_user) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF drop_user.user_id IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'drop_user needs a user';
    END IF;
    INSERT INTO notifier.events (control, recipient, principal)
    VALUES ('drop_user', drop_user.user_id, drop_user.by);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.drop_user(text, text) IS 'Orders every server to close the connections of a user.';

-- A migration that takes away what older servers need replaces this by its own number: then they refuse to start.
CREATE FUNCTION notifier.oldest_server() RETURNS bigint
LANGUAGE sql IMMUTABLE
AS 'SELECT 1::bigint';
COMMENT ON FUNCTION notifier.oldest_server() IS 'The newest migration that a server must know to work with this schema.';

REVOKE ALL ON SCHEMA notifier FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA notifier FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA notifier FROM PUBLIC;

-- A publisher may add events and see none. The id, the transaction, the doorbell and the control column are not its own:
-- an event with a forged transaction would be lost, or read again for ever.
GRANT USAGE ON SCHEMA notifier TO notifier_publisher, notifier_server;
GRANT INSERT (created_at, type, action, key, recipient, dataset_id, principal, payload, original)
    ON notifier.events TO notifier_publisher, notifier_server;
GRANT EXECUTE ON FUNCTION notifier.publish(text, text, text, json, text, text, json, text, timestamptz)
    TO notifier_publisher, notifier_server;

GRANT SELECT, DELETE ON notifier.events TO notifier_server;
GRANT SELECT, INSERT, DELETE ON notifier.positions, notifier.idempotency_keys TO notifier_server;
GRANT EXECUTE ON FUNCTION notifier.try_tail(), notifier.drop_user(text, text), notifier.oldest_server()
    TO notifier_server;
GRANT SELECT ON notifier.goose_db_version TO notifier_server;

-- +goose Down

DROP FUNCTION notifier.drop_user(text, text);
DROP FUNCTION notifier.publish(text, text, text, json, text, text, json, text, timestamptz);
DROP FUNCTION notifier.oldest_server();
DROP FUNCTION notifier.hold_publishers();
DROP FUNCTION notifier.try_tail();
DROP TABLE notifier.idempotency_keys;
DROP TABLE notifier.positions;
DROP TABLE notifier.events;
DROP FUNCTION notifier.ring();
REVOKE ALL ON notifier.goose_db_version FROM notifier_publisher, notifier_server;
REVOKE ALL ON SCHEMA notifier FROM notifier_publisher, notifier_server;

-- The roles go only when no other database, no member and nothing else needs them. (From PostgreSQL 16 on, the role
-- that made another one is listed as its member: it does not count.)
-- +goose StatementBegin
DO $$
DECLARE
    ours text;
BEGIN
    FOR ours IN
        SELECT r.rolname
        FROM pg_catalog.pg_roles r
        WHERE r.rolname IN ('notifier_publisher', 'notifier_server')
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_auth_members m
              WHERE m.roleid = r.oid AND m.member <> current_user::pg_catalog.regrole
          )
    LOOP
        BEGIN
            EXECUTE pg_catalog.format('DROP ROLE %I', ours);
        EXCEPTION
            WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                NULL; -- another database, or an administrator, still wants it
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd
