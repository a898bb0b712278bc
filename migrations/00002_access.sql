-- Who may see what: users, their permissions, and the policy functions that an application replaces.

-- +goose Up

CREATE TABLE notifier.users (
    user_id       text PRIMARY KEY CHECK (user_id <> ''),
    password_hash text,
    roles         text[] NOT NULL DEFAULT '{}' CHECK (pg_catalog.array_position(roles, NULL) IS NULL),
    disabled      boolean NOT NULL DEFAULT false,
    -- Begins with the clock and not at 0: of a user that is deleted and made anew, old tokens must not count again.
    generation    bigint NOT NULL
        DEFAULT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::bigint,
    created_at    timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE notifier.users IS
    'Who exists: INSERT INTO notifier.users (user_id) makes a user. Prefer disabling to deleting: permissions stay.';
COMMENT ON COLUMN notifier.users.password_hash IS 'for protocols that need a password; null: none will do';
COMMENT ON COLUMN notifier.users.roles IS 'publisher, admin: what the user may do besides reading, when logged in by password';
COMMENT ON COLUMN notifier.users.generation IS
    'tokens that notifier issued carry it; it grows, and ends them, with a new password, a lost role, and disabling';

-- No foreign key to users: an application may have its users elsewhere (see user_exists), may grant before a user
-- exists, and each grant would lock the user's row. A permission of nobody allows nothing.
CREATE TABLE notifier.dataset_permissions (
    user_id    text NOT NULL,
    dataset_id text NOT NULL,
    PRIMARY KEY (user_id, dataset_id)
);
CREATE INDEX dataset_permissions_dataset ON notifier.dataset_permissions (dataset_id);
COMMENT ON TABLE notifier.dataset_permissions IS
    'Who may read the events of a dataset: INSERT grants, DELETE revokes. '
    'An application does it with a role of its own: GRANT INSERT, DELETE ON notifier.dataset_permissions TO it.';

-- The key of tokens that notifier issues itself is here, so that every instance takes them, also after a restart.
-- Three times 122 random bits, from the server's cryptographic source, make 256.
CREATE TABLE notifier.signing_key (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    secret     bytea NOT NULL CHECK (pg_catalog.octet_length(secret) = 32) DEFAULT pg_catalog.sha256(
        pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
        || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
        || pg_catalog.uuid_send(pg_catalog.gen_random_uuid())),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO notifier.signing_key DEFAULT VALUES;
COMMENT ON TABLE notifier.signing_key IS
    'Signs the tokens that notifier issues. A copy of the database takes them too, until: '
    'UPDATE notifier.signing_key SET secret = DEFAULT, created_at = DEFAULT.';

-- The policy. An application points these three at its own tables with CREATE OR REPLACE FUNCTION, as the role that
-- migrated or a member of it; that keeps owner and grants. (DROP and CREATE would lose them; then the servers are
-- refused, and deliver nothing.) The names of the arguments are part of it, and must be qualified in the body:
-- in SQL a column of that name would win.
-- They run with the rights of notifier_server, so either that role may SELECT what they read, or they are SECURITY
-- DEFINER with a search_path of their own. An error means that nothing is delivered; null means no.
-- They should be STABLE: a question and the snapshot it is answered in belong together. A VOLATILE one sees a later
-- snapshot than the one that is noted, which is safe: the servers take the answer for older than it is, and look for
-- grants that it may know of.
-- The servers keep an answer for NOTIFIER_ACCESS_MAX_AGE at most. Call notifier.access_changed() after replacing
-- a function, in the same transaction, and it counts at once.

CREATE FUNCTION notifier.user_exists(user_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT
        FROM notifier.users u
        WHERE u.user_id = user_exists.user_id
          AND NOT u.disabled
    )
$$;
COMMENT ON FUNCTION notifier.user_exists(text) IS 'Policy, to be replaced: whether there is such a user. Asked before all else.';

CREATE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT may_read.dataset_id IS NULL OR EXISTS (
        SELECT
        FROM notifier.dataset_permissions p
        WHERE p.user_id = may_read.user_id
          AND p.dataset_id = may_read.dataset_id
    )
$$;
COMMENT ON FUNCTION notifier.may_read(text, text, text) IS
    'Policy, to be replaced: whether an existing user may read events of a type in a dataset (null: of none).';

CREATE FUNCTION notifier.dataset_of(type text, key text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN dataset_of.type IN ('datasetUpdate', 'uploadFile') THEN dataset_of.key END
$$;
COMMENT ON FUNCTION notifier.dataset_of(text, text) IS
    'Policy, to be replaced: the dataset of the object that somebody subscribes to; null: decided with each event.';

-- An application's function may choke on a value, casting what is no number, no uuid. One such question must not leave
-- all others without an answer: the servers ask them again by this one, which says no. The whole of class 22 and
-- nothing else: anything else is no fault of the question's.
-- +goose StatementBegin
CREATE FUNCTION notifier.may_read_or_no(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN notifier.user_exists(user_id) AND notifier.may_read(user_id, type, dataset_id);
EXCEPTION
    WHEN data_exception THEN
        RETURN false;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.may_read_or_no(text, text, text) IS 'The policy''s answer, no where it can''t make sense of a value.';

REVOKE ALL ON notifier.users, notifier.dataset_permissions, notifier.signing_key FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.user_exists(text), notifier.may_read(text, text, text), notifier.dataset_of(text, text),
    notifier.may_read_or_no(text, text, text)
    FROM PUBLIC;

-- The server asks the policy and keeps users; it grants nobody anything. A publisher sees none of it.
GRANT EXECUTE ON FUNCTION
    notifier.user_exists(text), notifier.may_read(text, text, text), notifier.dataset_of(text, text),
    notifier.may_read_or_no(text, text, text)
    TO notifier_server;
GRANT SELECT, INSERT (user_id, password_hash, roles, disabled), UPDATE (password_hash, roles, disabled)
    ON notifier.users TO notifier_server;
GRANT SELECT ON notifier.dataset_permissions, notifier.signing_key TO notifier_server;

-- +goose Down

DROP FUNCTION notifier.may_read_or_no(text, text, text);
DROP FUNCTION notifier.user_exists(text);
DROP FUNCTION notifier.may_read(text, text, text);
DROP FUNCTION notifier.dataset_of(text, text);
DROP TABLE notifier.signing_key;
DROP TABLE notifier.dataset_permissions;
DROP TABLE notifier.users;
