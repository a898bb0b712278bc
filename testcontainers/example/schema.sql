CREATE TABLE people (
    name text PRIMARY KEY
);

CREATE TABLE members (
    project text,
    person text REFERENCES people,
    PRIMARY KEY (project, person)
);

CREATE TABLE issues (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL,
    title text NOT NULL,
    assignee text REFERENCES people,
    done boolean NOT NULL DEFAULT false
);

-- Who is who, and who may see what, the application knows best.
CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (SELECT FROM public.people p WHERE p.name = user_exists.user_id)
$$;

CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT may_read.dataset_id IS NULL OR EXISTS (
        SELECT
        FROM public.members m
        WHERE m.person = may_read.user_id
          AND m.project = may_read.dataset_id
    )
$$;

GRANT SELECT ON people, members TO notifier_server;

CREATE FUNCTION tell_of_member() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM notifier.access_changed(coalesce(NEW.person, OLD.person), coalesce(NEW.project, OLD.project));
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_member AFTER INSERT OR DELETE ON members
    FOR EACH ROW EXECUTE FUNCTION tell_of_member();

-- All members of the project hear of an issue; who gets it assigned, by a notification of its own.
CREATE FUNCTION tell_of_issue() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM notifier.publish('issue', action => lower(TG_OP), key => NEW.id::text, dataset_id => NEW.project,
        payload => to_json(NEW), original => CASE WHEN TG_OP = 'UPDATE' THEN to_json(OLD) END);
    IF NEW.assignee IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.assignee IS DISTINCT FROM OLD.assignee) THEN
        PERFORM notifier.publish('notification', key => NEW.id::text, recipient => NEW.assignee, dataset_id => NEW.project,
            payload => json_build_object('assigned', NEW.title));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_issue AFTER INSERT OR UPDATE ON issues
    FOR EACH ROW EXECUTE FUNCTION tell_of_issue();
