-- An application's own tables: an issue belongs to a dataset, a dataset to a project, and a project has members.
CREATE SCHEMA app;
CREATE TABLE app.users (id text PRIMARY KEY, left_at timestamptz);
CREATE TABLE app.projects (id text PRIMARY KEY);
CREATE TABLE app.members (
    user_id    text REFERENCES app.users,
    project_id text REFERENCES app.projects,
    PRIMARY KEY (user_id, project_id)
);
CREATE TABLE app.datasets (id text PRIMARY KEY, project_id text NOT NULL REFERENCES app.projects);
CREATE TABLE app.issues (id text PRIMARY KEY, dataset_id text NOT NULL REFERENCES app.datasets);

-- The policy, as the role that ran "notifier migrate up". Qualify everything; the names of the arguments stay.
-- If your ids are no text, cast the argument and not the column, or no index will be used.
CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM app.users u WHERE u.id = user_exists.user_id AND u.left_at IS NULL)
$$;

CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT may_read.dataset_id IS NULL OR EXISTS (
        SELECT
        FROM app.datasets d
        JOIN app.members m ON m.project_id = d.project_id
        WHERE d.id = may_read.dataset_id
          AND m.user_id = may_read.user_id
    )
$$;

CREATE OR REPLACE FUNCTION notifier.dataset_of(type text, key text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE dataset_of.type
        WHEN 'issueUpdate' THEN (SELECT i.dataset_id FROM app.issues i WHERE i.id = dataset_of.key)
        WHEN 'datasetUpdate' THEN dataset_of.key
    END
$$;

-- The servers ask with this role's rights.
GRANT USAGE ON SCHEMA app TO notifier_server;
GRANT SELECT ON app.users, app.members, app.datasets, app.issues TO notifier_server;

-- What changes the answers tells the servers, so that it counts from its commit on, and not up to
-- NOTIFIER_ACCESS_MAX_AGE later.
CREATE FUNCTION app.access_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_TABLE_NAME || ' ' || TG_OP
        WHEN 'users UPDATE' THEN PERFORM notifier.access_changed(NEW.id);
        WHEN 'members INSERT' THEN PERFORM notifier.access_changed(NEW.user_id);
        WHEN 'members DELETE' THEN PERFORM notifier.access_changed(OLD.user_id);
        WHEN 'members UPDATE' THEN
            PERFORM notifier.access_changed(OLD.user_id);
            PERFORM notifier.access_changed(NEW.user_id);
        WHEN 'datasets UPDATE' THEN PERFORM notifier.access_changed(dataset_id => OLD.id);
        ELSE PERFORM notifier.access_changed(); -- for everybody: TRUNCATE
    END CASE;
    RETURN NULL;
END
$$;
CREATE TRIGGER access AFTER UPDATE OF left_at ON app.users
    FOR EACH ROW EXECUTE FUNCTION app.access_changed();
CREATE TRIGGER access AFTER INSERT OR UPDATE OR DELETE ON app.members
    FOR EACH ROW EXECUTE FUNCTION app.access_changed();
CREATE TRIGGER access AFTER UPDATE OF project_id ON app.datasets
    FOR EACH ROW EXECUTE FUNCTION app.access_changed();
CREATE TRIGGER access_all AFTER TRUNCATE ON app.members
    FOR EACH STATEMENT EXECUTE FUNCTION app.access_changed();

-- The policy itself has just changed too.
SELECT notifier.access_changed();
