-- A small application for `notifier dev`: notes that belong to people. All an application needs to do about notifier
-- is the trigger. Run again, it changes nothing.

-- name: demo
CREATE SCHEMA IF NOT EXISTS demo;

CREATE TABLE IF NOT EXISTS demo.notes (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner text NOT NULL, -- whose note it is: the access_id that is told
  text  text NOT NULL
);

CREATE OR REPLACE FUNCTION demo.tell_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  note demo.notes := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  PERFORM notifier.publish(
    'note',
    action => lower(TG_OP),
    key => note.id::text,
    recipient => note.owner,
    payload => json_build_object('note', note.id, 'action', lower(TG_OP), 'text', note.text)
  );
  RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS tell_owner ON demo.notes;
CREATE TRIGGER tell_owner
  AFTER INSERT OR UPDATE OR DELETE ON demo.notes
  FOR EACH ROW EXECUTE FUNCTION demo.tell_owner();
