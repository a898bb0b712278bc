-- What tells the servers at once that access has changed: a control row for each change of users and permissions.

-- +goose Up

-- The changes of the open transactions. Their control rows are written at the very end, because a control row tells
-- the servers which events were committed before the change, which nobody knows any earlier. Nobody ever sees a row of
-- this table: it is gone before its transaction commits.
-- UNLOGGED, because none is worth keeping, and because a publication FOR ALL TABLES takes in every table that is not:
-- without a key to name them by, it would forbid the DELETE.
CREATE UNLOGGED TABLE notifier.access_changes (
    control   text NOT NULL,
    users     text[] NOT NULL,
    datasets  text[] NOT NULL,
    principal text NOT NULL,
    who       text NOT NULL,
    source    text NOT NULL
);
COMMENT ON TABLE notifier.access_changes IS 'Changes of access whose transactions are still open. Always empty.';

-- What had been committed before a change. If that has its place among all transactions that publish (see
-- notifier.hold_publishers), each of them had ended, or will commit after it: an event that the snapshot sees comes
-- before the change, any other after it.
-- Where there is no such order, only a revocation can say something: any snapshot will do for it that was taken before
-- the commit, since it can't see what is committed afterwards, so that never counts as allowed before. A grant's would
-- let through what was committed between the snapshot and the commit; so it says nothing, and the servers withhold what
-- they read together with it. The same goes for a change of unknown kind.
-- This is VOLATILE: each of its statements has a new snapshot. In REPEATABLE READ and SERIALIZABLE there is only that
-- of the transaction's beginning, so there one is put together: a transaction id that is drawn now is beyond all that
-- came before, and of those below it the ones in progress hold a lock on theirs, or have only just been given the id:
-- so the latest thousand are asked as well. (Who has the lock is asked too: it may have ended. Subtransactions have locks
-- of their own: of each session the oldest id is the transaction's.)
-- The own transaction is in progress, whatever the snapshot says: Postgres leaves it out.
-- +goose StatementBegin
CREATE FUNCTION notifier.change_snapshot(revoked boolean, ordered boolean) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT xid8 := pg_current_xact_id();
    seen CONSTANT pg_snapshot := pg_current_snapshot();
    fresh CONSTANT boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    next xid;
BEGIN
    IF NOT ordered AND NOT revoked THEN
        RETURN NULL;
    ELSIF (fresh OR NOT ordered) AND NOT pg_visible_in_snapshot(own, seen) THEN
        RETURN seen::text;
    ELSIF fresh OR NOT ordered THEN
        RETURN format('%s:%s:%s', pg_snapshot_xmin(seen), pg_snapshot_xmax(seen), (
            SELECT string_agg(running.xid::text, ',' ORDER BY running.xid)
            FROM (SELECT pg_snapshot_xip(seen) UNION ALL SELECT own) AS running (xid)
        ));
    END IF;
    BEGIN
        INSERT INTO notifier.access_changes VALUES ('', '{}', '{}', '', '', '') RETURNING xmin INTO next;
        RAISE object_not_in_prerequisite_state; -- only the id was wanted
    EXCEPTION
        WHEN object_not_in_prerequisite_state THEN
            NULL;
    END;
    RETURN (
        -- The ids in the locks have 32 bits: they are told by their distance from the one drawn.
        WITH drawn (id) AS (
            SELECT own::text::bigint + ((next::text::bigint - own::text::bigint) & 4294967295)
        ), running (id) AS (
            SELECT recent.id
            FROM drawn
            CROSS JOIN generate_series(GREATEST(drawn.id - 1000, 3), drawn.id - 1) AS recent (id)
            UNION
            SELECT min(drawn.id - ((drawn.id - l.transactionid::text::bigint) & 4294967295))
            FROM pg_locks AS l
            CROSS JOIN drawn
            WHERE l.locktype = 'transactionid'
              AND l.mode = 'ExclusiveLock'
              AND l.granted
              AND (drawn.id - l.transactionid::text::bigint) & 4294967295 < 2147483648
            GROUP BY l.virtualtransaction
        )
        SELECT format('%s:%s:%s', min(running.id), min(drawn.id), string_agg(running.id::text, ',' ORDER BY running.id))
        FROM running
        CROSS JOIN drawn
        WHERE running.id < drawn.id
          AND pg_xact_status(running.id::text::xid8) = 'in progress'
    );
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.change_snapshot(boolean, boolean) IS 'What had been committed before a change of access, for its control row.';

-- Queues a control row for each pair of user and dataset; null stands for all.
-- A transaction gets no more than a hundred: the next change counts for everybody, and those after it are silent,
-- because the servers look at access after the whole transaction anyway. The count is local to the transaction, and
-- a savepoint that is rolled back takes it along with its rows.
-- The principal is what the application says of its own user, SET LOCAL notifier.principal = '…', or else the role
-- that logged in. That role is in the payload in any case: it cannot be chosen.
-- +goose StatementBegin
CREATE FUNCTION notifier.note_change(control text, users text[], datasets text[], source text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most CONSTANT int := 100;
    own CONSTANT text := pg_current_xact_id()::text;
    counted CONSTANT text[] := string_to_array(current_setting('notifier.access_changes', true), ' ');
    before CONSTANT int := CASE WHEN counted[1] = own THEN counted[2]::int ELSE 0 END;
    noted CONSTANT int := before + COALESCE(cardinality(users), 0);
    grants boolean;
BEGIN
    IF noted = before OR before > most THEN
        RETURN;
    END IF;
    grants := control <> 'access_revoked' OR noted > most OR before > 0 AND counted[3] = 'grants';
    PERFORM set_config('notifier.access_changes', concat_ws(' ', own, noted, CASE WHEN grants THEN 'grants' END), true);
    IF noted > most THEN
        control := 'access_changed';
        users := ARRAY[NULL];
        datasets := ARRAY[NULL];
    END IF;
    INSERT INTO notifier.access_changes (control, users, datasets, principal, who, source)
    VALUES (control, users, datasets, COALESCE(NULLIF(current_setting('notifier.principal', true), ''), session_user),
        session_user, source);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.note_change(text, text[], text[], text) IS 'Queues the control rows of a change of access.';

-- Whether a deferred trigger with this context (PG_CONTEXT) runs because its transaction is about to commit. It runs
-- earlier where the constraints are immediate, and PREPARE TRANSACTION leaves the transaction open. At a commit there
-- is nothing below the trigger, unless a procedure commits; and what else a client may have said to make it run is in
-- its query. Whoever has those words in a literal, or a query that is too long to look through, counts as one who said
-- them: that withholds more.
-- +goose StatementBegin
CREATE FUNCTION notifier.is_committing(context text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    query CONSTANT text := COALESCE(current_query(), '');
BEGIN
    IF strpos(context, E'\n') > 0 THEN
        RETURN split_part(context, E'\n', 2) ~ '^[^"]*\mCOMMIT$'; -- a statement's text would be in quotes
    ELSIF octet_length(query) > 100000 THEN
        RETURN false;
    END IF;
    RETURN NOT (query ~* 'constraints' AND query ~* 'immediate' OR query ~* 'prepare' AND query ~* 'transaction');
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.is_committing(text) IS 'Whether a deferred trigger runs for a commit.';

-- Whether the transaction has its place among those that publish. One that only revokes needs none. Those that were in
-- the way the first time are not waited for with each change again.
-- +goose StatementBegin
CREATE FUNCTION notifier.is_ordered(control text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT text := pg_current_xact_id()::text;
    counted CONSTANT text[] := string_to_array(current_setting('notifier.access_changes', true), ' ');
    answer CONSTANT text[] := string_to_array(current_setting('notifier.ordered', true), ' ');
    ordered boolean := false;
BEGIN
    IF answer[1] = own THEN
        RETURN answer[2]::boolean;
    ELSIF control <> 'access_revoked' OR counted[1] = own AND counted[3] = 'grants' THEN
        ordered := notifier.hold_publishers();
        PERFORM set_config('notifier.ordered', own || ' ' || ordered, true);
    END IF;
    RETURN ordered;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.is_ordered(text) IS 'Gives a transaction that grants its place among those that publish.';

-- Runs at the end of the transaction, twice for each row: first it only puts the row to the end of what the commit has
-- to do, since from the second run on publishers wait, and an application's own deferred triggers and keys may in turn
-- wait for a publisher. Where it does not run at the end it takes no lock, for a transaction that stays open must hold
-- nobody up.
-- Rows are found by their place: a look-up would have serializable transactions that grant get in each other's way.
-- +goose StatementBegin
CREATE FUNCTION notifier.write_change() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text;
    committing boolean;
    ordered boolean;
    said json;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    committing := notifier.is_committing(context);
    IF committing AND TG_OP = 'INSERT' THEN
        UPDATE notifier.access_changes SET control = control WHERE ctid = NEW.ctid;
        RETURN NULL;
    END IF;
    DELETE FROM notifier.access_changes WHERE ctid = NEW.ctid;
    ordered := committing AND notifier.is_ordered(NEW.control);
    said := json_build_object(
        'snapshot', notifier.change_snapshot(NEW.control = 'access_revoked', ordered),
        'session_user', NEW.who,
        'source', NEW.source);
    INSERT INTO notifier.events (control, recipient, dataset_id, principal, payload)
    SELECT NEW.control, pair.user_id, pair.dataset_id, NEW.principal, said
    FROM unnest(NEW.users, NEW.datasets) AS pair (user_id, dataset_id);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.write_change() IS 'Writes the control rows of a change of access when its transaction ends.';

CREATE CONSTRAINT TRIGGER write_change
    AFTER INSERT OR UPDATE ON notifier.access_changes
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION notifier.write_change();

-- Whoever may publish may call this, since an application's triggers run with the application's rights. It gives
-- nobody any right: a needless call makes the servers ask the policy again, once per batch, and withhold what they
-- can't tell the order of. It costs no more than publishing an event to everybody.
-- +goose StatementBegin
CREATE FUNCTION notifier.access_changed(user_id text DEFAULT NULL, dataset_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM notifier.note_change(
        'access_changed', ARRAY[access_changed.user_id], ARRAY[access_changed.dataset_id], 'access_changed()');
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.access_changed(text, text) IS
    'Tells the servers that what a user (null: everybody) may read of a dataset (null: any) is about to change with '
    'this transaction. For triggers on the tables that replaced policy functions read.';

-- Beyond this many rows, a statement's change counts for whole users, or for whole datasets, or for everybody.
-- "changed" are the rows that gained, or lost, and of an update "kept" are the others' versions of the same rows.
-- +goose StatementBegin
CREATE FUNCTION notifier.permissions_changed() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most CONSTANT int := 100;
    users text[] := ARRAY[NULL];
    datasets text[] := ARRAY[NULL];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(pair.user_id), array_agg(pair.dataset_id) INTO users, datasets
        FROM (
            SELECT user_id, dataset_id FROM changed
            EXCEPT
            SELECT user_id, dataset_id FROM kept
            LIMIT most + 1
        ) AS pair;
    ELSIF TG_OP <> 'TRUNCATE' THEN
        SELECT array_agg(pair.user_id), array_agg(pair.dataset_id) INTO users, datasets
        FROM (SELECT user_id, dataset_id FROM changed LIMIT most + 1) AS pair;
    END IF;
    IF cardinality(users) > most THEN
        SELECT array_agg(one.user_id), array_agg(NULL::text) INTO users, datasets
        FROM (SELECT DISTINCT user_id FROM changed LIMIT most + 1) AS one;
    END IF;
    IF cardinality(users) > most THEN
        SELECT array_agg(NULL::text), array_agg(one.dataset_id) INTO users, datasets
        FROM (SELECT DISTINCT dataset_id FROM changed LIMIT most + 1) AS one;
    END IF;
    IF cardinality(users) > most THEN
        users := ARRAY[NULL];
        datasets := ARRAY[NULL];
    END IF;
    PERFORM notifier.note_change(TG_ARGV[0], users, datasets, 'dataset_permissions');
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.permissions_changed() IS 'Tells the servers who was granted or lost what.';

-- A disabled user counts as none. What else the servers must know is a new generation or new roles.
-- +goose StatementBegin
CREATE FUNCTION notifier.users_changed() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most CONSTANT int := 100;
    users text[] := ARRAY[NULL];
BEGIN
    IF TG_OP = 'UPDATE' AND TG_ARGV[0] = 'access_changed' THEN
        SELECT array_agg(one.user_id) INTO users
        FROM (
            SELECT user_id
            FROM changed
            JOIN kept USING (user_id)
            WHERE NOT changed.disabled
              AND NOT kept.disabled
              AND (changed.generation, changed.roles) IS DISTINCT FROM (kept.generation, kept.roles)
            LIMIT most + 1
        ) AS one;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(one.user_id) INTO users
        FROM (
            SELECT user_id FROM changed WHERE NOT disabled
            EXCEPT
            SELECT user_id FROM kept WHERE NOT disabled
            LIMIT most + 1
        ) AS one;
    ELSIF TG_OP <> 'TRUNCATE' THEN
        SELECT array_agg(one.user_id) INTO users
        FROM (SELECT user_id FROM changed WHERE NOT disabled LIMIT most + 1) AS one;
    END IF;
    IF cardinality(users) > most THEN
        users := ARRAY[NULL];
    END IF;
    -- unnest fills the shorter list up with nulls.
    PERFORM notifier.note_change(TG_ARGV[0], users, ARRAY[]::text[], 'users');
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.users_changed() IS 'Tells the servers who came, went, or may do something else.';

-- The generation never goes back, whoever writes it.
-- +goose StatementBegin
CREATE FUNCTION notifier.next_generation() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.password_hash IS DISTINCT FROM OLD.password_hash
        OR NEW.user_id <> OLD.user_id
        OR NEW.disabled AND NOT OLD.disabled
        OR NOT NEW.roles @> OLD.roles
    THEN
        NEW.generation := GREATEST(NEW.generation, OLD.generation + 1);
    ELSE
        NEW.generation := GREATEST(NEW.generation, OLD.generation);
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.next_generation() IS 'Ends the tokens of a user whose password, name or rights have changed.';

-- The triggers are for each statement, so that COPY and bulk changes are one change, and ALWAYS, so that a restore or
-- a session_replication_role does not hide one. (The doorbell is silent in such a session: the servers' poll finds the
-- row.) Logical replication fires no such trigger when it applies a row: a subscriber's database needs a trigger for
-- each row that calls access_changed(), also ALWAYS.
-- A statement's triggers run in the order of their names: what it takes comes before what it gives.
CREATE TRIGGER access_lost_by_delete AFTER DELETE ON notifier.dataset_permissions
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.permissions_changed('access_revoked');
CREATE TRIGGER access_lost_by_truncate AFTER TRUNCATE ON notifier.dataset_permissions
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.permissions_changed('access_revoked');
CREATE TRIGGER access_lost_by_update AFTER UPDATE ON notifier.dataset_permissions
    REFERENCING OLD TABLE AS changed NEW TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.permissions_changed('access_revoked');
CREATE TRIGGER access_won_by_insert AFTER INSERT ON notifier.dataset_permissions
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.permissions_changed('access_granted');
CREATE TRIGGER access_won_by_update AFTER UPDATE ON notifier.dataset_permissions
    REFERENCING NEW TABLE AS changed OLD TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.permissions_changed('access_granted');

CREATE TRIGGER access_changed_by_update AFTER UPDATE ON notifier.users
    REFERENCING NEW TABLE AS changed OLD TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_changed');
CREATE TRIGGER access_lost_by_delete AFTER DELETE ON notifier.users
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_revoked');
CREATE TRIGGER access_lost_by_truncate AFTER TRUNCATE ON notifier.users
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_revoked');
CREATE TRIGGER access_lost_by_update AFTER UPDATE ON notifier.users
    REFERENCING OLD TABLE AS changed NEW TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_revoked');
CREATE TRIGGER access_won_by_insert AFTER INSERT ON notifier.users
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_granted');
CREATE TRIGGER access_won_by_update AFTER UPDATE ON notifier.users
    REFERENCING NEW TABLE AS changed OLD TABLE AS kept
    FOR EACH STATEMENT EXECUTE FUNCTION notifier.users_changed('access_granted');
CREATE TRIGGER generation BEFORE UPDATE ON notifier.users
    FOR EACH ROW EXECUTE FUNCTION notifier.next_generation();

ALTER TABLE notifier.access_changes ENABLE ALWAYS TRIGGER write_change;
ALTER TABLE notifier.dataset_permissions
    ENABLE ALWAYS TRIGGER access_lost_by_delete,
    ENABLE ALWAYS TRIGGER access_lost_by_truncate,
    ENABLE ALWAYS TRIGGER access_lost_by_update,
    ENABLE ALWAYS TRIGGER access_won_by_insert,
    ENABLE ALWAYS TRIGGER access_won_by_update;
ALTER TABLE notifier.users
    ENABLE ALWAYS TRIGGER access_changed_by_update,
    ENABLE ALWAYS TRIGGER access_lost_by_delete,
    ENABLE ALWAYS TRIGGER access_lost_by_truncate,
    ENABLE ALWAYS TRIGGER access_lost_by_update,
    ENABLE ALWAYS TRIGGER access_won_by_insert,
    ENABLE ALWAYS TRIGGER access_won_by_update,
    ENABLE ALWAYS TRIGGER generation;

REVOKE ALL ON notifier.access_changes FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.access_changed(text, text), notifier.change_snapshot(boolean, boolean),
    notifier.is_committing(text), notifier.is_ordered(text), notifier.write_change(),
    notifier.note_change(text, text[], text[], text),
    notifier.permissions_changed(), notifier.users_changed(), notifier.next_generation()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notifier.access_changed(text, text) TO notifier_publisher, notifier_server;

-- +goose Down

DROP TRIGGER access_changed_by_update ON notifier.users;
DROP TRIGGER access_lost_by_delete ON notifier.users;
DROP TRIGGER access_lost_by_truncate ON notifier.users;
DROP TRIGGER access_lost_by_update ON notifier.users;
DROP TRIGGER access_won_by_insert ON notifier.users;
DROP TRIGGER access_won_by_update ON notifier.users;
DROP TRIGGER generation ON notifier.users;
DROP TRIGGER access_lost_by_delete ON notifier.dataset_permissions;
DROP TRIGGER access_lost_by_truncate ON notifier.dataset_permissions;
DROP TRIGGER access_lost_by_update ON notifier.dataset_permissions;
DROP TRIGGER access_won_by_insert ON notifier.dataset_permissions;
DROP TRIGGER access_won_by_update ON notifier.dataset_permissions;
DROP FUNCTION notifier.next_generation();
DROP FUNCTION notifier.users_changed();
DROP FUNCTION notifier.permissions_changed();
DROP FUNCTION notifier.access_changed(text, text);
DROP FUNCTION notifier.note_change(text, text[], text[], text);
DROP TABLE notifier.access_changes;
DROP FUNCTION notifier.write_change();
DROP FUNCTION notifier.is_ordered(text);
DROP FUNCTION notifier.is_committing(text);
DROP FUNCTION notifier.change_snapshot(boolean, boolean);
