-- Who may see what is the application's business: the members of a project see what belongs to its datasets. This is
-- the part to copy for tables of your own.

-- name: demo_policy
CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
  SELECT may_read.dataset_id IS NULL
    OR EXISTS (
      SELECT
      FROM demo.datasets AS d
      JOIN demo.members AS m ON m.project_id = d.project_id
      WHERE d.id = may_read.dataset_id
        AND m.user_id = may_read.user_id
    )
    OR EXISTS ( -- what notifier asks by itself goes on to count
      SELECT
      FROM notifier.dataset_permissions AS p
      WHERE p.user_id = may_read.user_id
        AND p.dataset_id = may_read.dataset_id
    )
$$;

CREATE OR REPLACE FUNCTION notifier.dataset_of(type text, key text) RETURNS text
LANGUAGE sql STABLE
AS $$
  SELECT CASE dataset_of.type
    WHEN 'issueUpdate' THEN (SELECT i.dataset_id FROM demo.issues AS i WHERE i.id::text = dataset_of.key)
    WHEN 'downloadFile' THEN (SELECT u.dataset_id FROM demo.uploads AS u WHERE u.id::text = dataset_of.key)
    WHEN 'datasetUpdate' THEN dataset_of.key
    WHEN 'uploadFile' THEN dataset_of.key
  END
$$;

-- The servers ask with this role's rights.
GRANT USAGE ON SCHEMA demo TO notifier_server;
GRANT SELECT ON ALL TABLES IN SCHEMA demo TO notifier_server;

-- What changes the answers says so, in the same transaction: so it counts from the commit on.
CREATE OR REPLACE FUNCTION demo.access_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  CASE TG_TABLE_NAME || ' ' || TG_OP
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
DROP TRIGGER IF EXISTS access ON demo.members;
CREATE TRIGGER access AFTER INSERT OR UPDATE OR DELETE ON demo.members
  FOR EACH ROW EXECUTE FUNCTION demo.access_changed();
DROP TRIGGER IF EXISTS access_all ON demo.members;
CREATE TRIGGER access_all AFTER TRUNCATE ON demo.members
  FOR EACH STATEMENT EXECUTE FUNCTION demo.access_changed();
DROP TRIGGER IF EXISTS access ON demo.datasets;
CREATE TRIGGER access AFTER UPDATE OF project_id ON demo.datasets
  FOR EACH ROW EXECUTE FUNCTION demo.access_changed();

-- The policy itself has just changed too.
SELECT notifier.access_changed();
