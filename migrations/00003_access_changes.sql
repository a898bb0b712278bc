-- What tells the servers at once that access has changed: a control row for each change of users and permissions.

-- +goose Up

-- The snapshot of a change tells the servers which events came before it. An event that is visible in it was committed
-- before the change; of one that is not, only the order of commits would tell, which nobody knows.
-- For a revocation any snapshot will do that was taken before the commit: it can't see what is committed afterwards,
-- so that never counts as allowed before. The newer, the fewer events count as later that were not.
-- For a grant the newest is right: an event it does not see counts as coming after the grant. So this is VOLATILE:
-- each of its statements has a new snapshot, also one that had to wait for the lock of a revocation before it. What is
-- left is the moment between here and the commit.
-- In REPEATABLE READ and SERIALIZABLE there is only the snapshot of the transaction's beginning. That is still right
-- for revocations, as is any older one, and wrong for grants: it would have what was committed long before the grant
-- count as coming after it. There, a grant's snapshot is made to see every transaction that is older than its own.
-- A change of unknown kind is taken for a revocation then.
-- The own transaction is in progress, whatever the snapshot says: Postgres leaves it out.
-- +goose StatementBegin
CREATE FUNCTION notifier.change_snapshot(granted boolean) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT xid8 := pg_current_xact_id();
    seen CONSTANT pg_snapshot := pg_current_snapshot();
    fresh CONSTANT boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
BEGIN
    IF granted AND NOT fresh THEN
        RETURN format('%s:%s:%1$s', own, own::text::bigint + 1);
    ELSIF NOT pg_visible_in_snapshot(own, seen) THEN
        RETURN seen::text;
    END IF;
    RETURN format('%s:%s:%s', pg_snapshot_xmin(seen), pg_snapshot_xmax(seen), (
        SELECT string_agg(running.xid::text, ',' ORDER BY running.xid)
        FROM (SELECT pg_snapshot_xip(seen) UNION ALL SELECT own) AS running (xid)
    ));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.change_snapshot(boolean) IS 'What had been committed before a change of access, for its control row.';

-- Writes a control row for each pair of user and dataset; null stands for all.
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
    said json;
BEGIN
    IF noted = before OR before > most THEN
        RETURN;
    END IF;
    PERFORM set_config('notifier.access_changes', own || ' ' || noted, true);
    IF noted > most THEN
        control := 'access_changed';
        users := ARRAY[NULL];
        datasets := ARRAY[NULL];
    END IF;
    said := json_build_object(
        'snapshot', notifier.change_snapshot(control = 'access_granted'),
        'session_user', session_user,
        'source', source);
    INSERT INTO notifier.events (control, recipient, dataset_id, principal, payload)
    SELECT
        note_change.control,
        pair.user_id,
        pair.dataset_id,
        COALESCE(NULLIF(current_setting('notifier.principal', true), ''), session_user),
        said
    FROM unnest(users, datasets) AS pair (user_id, dataset_id);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.note_change(text, text[], text[], text) IS 'Writes the control rows of a change of access.';

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

REVOKE ALL ON FUNCTION
    notifier.access_changed(text, text), notifier.change_snapshot(boolean),
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
DROP FUNCTION notifier.change_snapshot(boolean);
