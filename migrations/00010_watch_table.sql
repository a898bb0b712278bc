-- notifier.watch_table(): what it checks, the statements it runs, and the view of what is watched.

-- +goose Up

-- The tables of a tree, whose root is watched.
CREATE FUNCTION notifier.watch_tree(root oid) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE tree (id) AS (
        SELECT root
        UNION
        SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON i.inhparent = tree.id
    )
    SELECT id FROM tree
$$;
COMMENT ON FUNCTION notifier.watch_tree(oid) IS 'A table and all its parts.';

-- A table counts as watched if it has a trigger of ours that runs a function of its owner's that says so. A part of it
-- that was added later has none until watch_table is called again.
CREATE VIEW notifier.watched AS
WITH installed AS (
    SELECT
        t.tgrelid AS id,
        p.oid AS function,
        o.options,
        count(*) FILTER (WHERE t.tgenabled IN ('O', 'A')) = (
            SELECT count(*) FROM notifier.watch_triggers(o.options)
        ) AS complete
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    CROSS JOIN LATERAL notifier.watch_options(pg_catalog.obj_description(p.oid, 'pg_proc')) AS o (options)
    WHERE NOT t.tgisinternal
      AND p.prosecdef
      AND t.tgname IN (SELECT w.name FROM notifier.watch_triggers(o.options) AS w)
    GROUP BY t.tgrelid, p.oid, o.options
)
SELECT
    i.id::regclass AS watched,
    i.options ->> 'event_type' AS event_type,
    i.options - 'event_type' AS options,
    missing.tables = '{}' AS complete,
    missing.tables AS missing,
    i.function::regprocedure AS function
FROM installed AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.id
JOIN pg_catalog.pg_proc AS p ON p.oid = i.function
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT part::regclass
        FROM notifier.watch_tree(i.id) AS part
        WHERE NOT EXISTS (
            SELECT FROM installed AS there WHERE there.id = part AND there.function = i.function AND there.complete
        )
    ) AS tables
) AS missing
WHERE p.proowner = c.relowner
  AND NOT EXISTS (
      SELECT
      FROM pg_catalog.pg_inherits AS above
      JOIN installed AS parent ON parent.id = above.inhparent AND parent.function = i.function
      WHERE above.inhrelid = i.id
  );
COMMENT ON VIEW notifier.watched IS
    'The tables that watch_table has set up, and how. Missing are those, of a table and its parts, without all triggers, or with disabled ones.';

-- Only who owns a table may have it watched. All is done as the owner, also when a superuser asks: neither the owner's
-- functions, in an expression, nor its event triggers get more rights than their own.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_owner(watched regclass) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c CONSTANT pg_class := (SELECT t FROM pg_class AS t WHERE t.oid = watched);
    owner CONSTANT text := pg_get_userbyid(c.relowner);
    publishes CONSTANT boolean := has_schema_privilege(c.relowner, 'notifier', 'USAGE')
        AND has_column_privilege(c.relowner, 'notifier.events', 'payload', 'INSERT');
BEGIN
    IF c.oid IS NULL THEN
        RAISE undefined_table USING MESSAGE = 'no such table';
    ELSIF c.relkind NOT IN ('r', 'p') OR c.relpersistence = 't'
        OR c.relnamespace = 'pg_catalog'::regnamespace
        OR watched IN ('notifier.events'::regclass, 'notifier.dropped'::regclass, 'notifier.access_changes'::regclass)
    THEN
        RAISE wrong_object_type USING MESSAGE = format('%s can''t be watched: it must be an ordinary or partitioned table', watched);
    ELSIF NOT pg_has_role(c.relowner, 'USAGE') THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of table %s', watched);
    ELSIF NOT publishes THEN
        RAISE insufficient_privilege USING MESSAGE = format('the owner of %s may not publish', watched),
            HINT = format('GRANT notifier_publisher TO %I;', owner);
    ELSIF NOT has_schema_privilege(c.relowner, c.relnamespace, 'CREATE') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the owner of %s may not create a function beside it', watched),
            HINT = format('GRANT CREATE ON SCHEMA %s TO %I;', c.relnamespace::regnamespace, owner);
    ELSIF EXISTS (
        WITH RECURSIVE tree (id) AS (
            SELECT watched::oid
            UNION
            SELECT i.inhrelid FROM pg_inherits AS i JOIN tree ON i.inhparent = tree.id
        )
        SELECT FROM tree JOIN pg_class AS f ON f.oid = tree.id WHERE f.relkind = 'f'
    ) THEN
        RAISE wrong_object_type USING
            MESSAGE = format('%s can''t be watched: a part of it is a foreign table, for which Postgres keeps no lists of changes', watched);
    END IF;
    RETURN owner;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_owner(regclass) IS
    'Refuses who may not have a table watched, and returns its owner.';

-- Goes on as another role, and returns who it was before; null: the same.
-- +goose StatementBegin
CREATE FUNCTION notifier.act_as(role text) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    previous CONSTANT text := current_setting('role');
BEGIN
    IF role = current_user THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('role', role, true);
    RETURN previous;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.act_as(text) IS 'Goes on as another role, and returns who it was before; null: the same.';

-- The columns that a trigger is given: Postgres does not compute virtual ones there.
CREATE FUNCTION notifier.watch_columns(watched regclass) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_attribute AS a
    WHERE a.attrelid = watched
      AND a.attnum > 0
      AND NOT a.attisdropped
      AND a.attgenerated <> 'v'
$$;
COMMENT ON FUNCTION notifier.watch_columns(regclass) IS 'The columns of a table that a trigger is given.';

-- A table without rows, to see whether what is written of the table compiles. It is not the table itself, whose row
-- security policies may be such that only the application can ask it anything.
CREATE FUNCTION notifier.watch_nothing(watched regclass) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('(SELECT %s FROM (SELECT NULL::%s AS r) AS t WHERE false)',
        string_agg(format('(t.r).%I', c.name), ', ' ORDER BY c.n), watched)
    FROM unnest(notifier.watch_columns(watched)) WITH ORDINALITY AS c (name, n)
$$;
COMMENT ON FUNCTION notifier.watch_nothing(regclass) IS 'Writes a table without rows.';

-- Demands that a statement compiles. PREPARE does not look for constants, so no function of an expression is run: the
-- owner's could go back to the role of a superuser who asks. Who is the owner has it run over no rows, which finds
-- functions that may not be called, too.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_check(statement text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    takes_parameters boolean;
BEGIN
    EXECUTE 'PREPARE "notifier: check" AS ' || statement;
    SELECT cardinality(p.parameter_types) > 0 INTO takes_parameters
    FROM pg_prepared_statements AS p
    WHERE p.name = 'notifier: check';
    EXECUTE 'DEALLOCATE "notifier: check"';
    IF takes_parameters THEN
        RAISE undefined_parameter USING MESSAGE = 'there are no parameters';
    ELSIF session_user = current_user THEN
        EXECUTE statement;
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_check(text) IS 'Demands that a statement compiles.';

-- Demands that a term is one expression, no more and no less, and a condition a boolean one. It is parsed in two places
-- at once: what ends one of them too early does not fit the other. CASE takes no set-returning function either,
-- and pg_typeof no second value.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_expression(watched regclass, argument text, term text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nothing CONSTANT text := notifier.watch_nothing(watched);
    state text;
    said text;
BEGIN
    PERFORM notifier.watch_check(format(
        'SELECT pg_typeof((SELECT CASE WHEN true THEN (%1$s) END FROM %2$s AS new)), (SELECT (%1$s) %3$s FROM %2$s AS new) IS NULL %4$s',
        term, nothing, CASE argument WHEN 'condition' THEN 'IS TRUE' ELSE '' END,
        CASE WHEN argument IN ('principal', 'payload')
            THEN format('FROM (SELECT) AS one LEFT JOIN %s AS old ON false', nothing) ELSE '' END));
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT;
        RAISE EXCEPTION USING ERRCODE = state,
            MESSAGE = format('%s is neither a column of %s nor %s over its columns: %s', argument, watched,
                CASE argument WHEN 'condition' THEN 'a boolean SQL expression' ELSE 'an SQL expression' END, said),
            HINT = 'What is not in pg_catalog needs its schema before it.';
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_expression(regclass, text, text) IS 'Demands that a term is one expression.';

-- A column as text, the same whoever writes: that of a date or time depends on the session's settings.
CREATE FUNCTION notifier.watch_text(watched regclass, name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(CASE COALESCE(NULLIF(t.typbasetype, 0), t.oid)
        WHEN 'date'::regtype THEN '(to_json(%I) #>> ''{}'')'
        WHEN 'timestamp'::regtype THEN '(to_json(%I) #>> ''{}'')'
        WHEN 'timestamptz'::regtype THEN '((to_json(timezone(''UTC'', %I)) #>> ''{}'') || ''Z'')'
        ELSE '%I::text' END, a.attname)
    FROM pg_attribute AS a
    JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = watched
      AND a.attname = watch_text.name
$$;
COMMENT ON FUNCTION notifier.watch_text(regclass, text) IS 'Writes a column as text, the same in all sessions.';

-- Turns the options into what the functions above need.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_plan(watched regclass, options jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan jsonb := options || jsonb_build_object('name', watched::text, 'expressive', false);
    there CONSTANT text[] := notifier.watch_columns(watched);
    parts CONSTANT text[] := ARRAY(SELECT btrim(part) FROM unnest(string_to_array(options ->> 'key', ',')) AS part);
    unknown text;
    argument text;
BEGIN
    SELECT c.name INTO unknown FROM unnest(there) AS c (name) WHERE starts_with(c.name, 'notifier: ');
    IF FOUND THEN
        RAISE reserved_name USING MESSAGE = format('%s can''t be watched: it has a column %I, and such names are used inside', watched, unknown);
    END IF;
    FOREACH argument IN ARRAY ARRAY['columns', 'without', 'changes'] LOOP
        SELECT c.name INTO unknown
        FROM jsonb_array_elements_text(COALESCE(NULLIF(options -> argument, 'null'), '[]')) AS c (name)
        WHERE c.name <> ALL (there);
        IF FOUND THEN
            RAISE undefined_column USING MESSAGE = format('%s: there is no column %I in %s', argument, unknown, watched);
        END IF;
    END LOOP;
    FOREACH argument IN ARRAY ARRAY['key', 'dataset', 'recipient', 'condition', 'principal', 'payload'] LOOP
        CONTINUE WHEN NOT options ? argument;
        IF argument NOT IN ('condition', 'principal', 'payload') AND options ->> argument = ANY (there) THEN
            plan := plan || jsonb_build_object(argument, notifier.watch_text(watched, options ->> argument));
        ELSIF argument = 'key' AND parts <@ there THEN
            plan := plan || jsonb_build_object('key', (
                SELECT format('pg_catalog.concat(%s)', string_agg(notifier.watch_text(watched, p.name), ', '','', ' ORDER BY p.n))
                FROM unnest(parts) WITH ORDINALITY AS p (name, n)));
        ELSE
            plan := plan || jsonb_build_object(argument, E'\n' || (options ->> argument) || E'\n', 'expressive', true);
        END IF;
        PERFORM notifier.watch_expression(watched, argument, plan ->> argument);
    END LOOP;
    -- What inherits from a table may have more columns, which were not asked for.
    IF (SELECT c.relkind = 'r' AND c.relhassubclass FROM pg_class AS c WHERE c.oid = watched)
        OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = watched AND a.attgenerated = 'v' AND NOT a.attisdropped)
    THEN
        plan := plan || jsonb_build_object('row', there);
    END IF;
    IF NOT plan ?| ARRAY['columns', 'payload'] AND plan ?| ARRAY['without', 'row'] THEN
        plan := plan || jsonb_build_object('columns', ARRAY(
            SELECT c.name FROM unnest(there) WITH ORDINALITY AS c (name, n)
            WHERE NOT COALESCE(options -> 'without', '[]') ? c.name ORDER BY c.n));
    END IF;
    RETURN plan || jsonb_build_object('partitioned', (SELECT relkind = 'p' FROM pg_class WHERE oid = watched));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_plan(regclass, jsonb) IS 'Turns the options of a watch into the SQL of its terms.';

-- The name of the trigger function, in the table's schema. Those of two tables, or two types, are never the same.
CREATE FUNCTION notifier.watch_function(watched regclass, event_type text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s.%I', c.relnamespace::regnamespace, notifier.watch_name(
        concat_ws('_', 'notifier', c.relname, watch_function.event_type), json_build_array(c.relname, watch_function.event_type)::text))
    FROM pg_class AS c
    WHERE c.oid = watched
$$;
COMMENT ON FUNCTION notifier.watch_function(regclass, text) IS 'The name of the trigger function of a watch.';

-- Refuses to take for a watch's function what is not: one of somebody else, also of a former owner of the table, or that
-- of a table which had this one's name (parts that have left a table go on with its function).
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_owns(watched regclass, event_type text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    function CONSTANT regprocedure := to_regprocedure(notifier.watch_function(watched, event_type) || '()');
    owned CONSTANT boolean := (SELECT p.proowner = c.relowner FROM pg_proc AS p, pg_class AS c WHERE p.oid = function AND c.oid = watched);
    users CONSTANT oid[] := ARRAY(SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgfoid = function);
BEGIN
    IF function IS NULL THEN
        RETURN;
    ELSIF NOT owned AND watched = ANY (users) THEN
        RAISE duplicate_function USING
            MESSAGE = format('%s is watched by a function that is not its owner''s: %s', watched, function),
            HINT = format('DROP FUNCTION %s CASCADE; ends that watch.', function);
    ELSIF NOT owned OR notifier.watch_options(obj_description(function, 'pg_proc')) ->> 'event_type' IS DISTINCT FROM event_type THEN
        RAISE duplicate_function USING MESSAGE = format('there is a function %s already that watches nothing', function);
    ELSIF watched <> ALL (users) AND EXISTS (
        SELECT FROM unnest(users) AS u WHERE u NOT IN (SELECT notifier.watch_tree(watched))
    ) THEN
        RAISE duplicate_function USING
            MESSAGE = format('the function %s still watches %s, which had the name of %s', function, users[1]::regclass, watched),
            HINT = format('Call watch_table or unwatch_table for %s first.', users[1]::regclass);
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_owns(regclass, text) IS 'Refuses to take for a watch''s function what is not.';

-- Quotes a text in dollars that it does not hold.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_quote(said text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tag text := '$watch$';
BEGIN
    FOR i IN 1..length(said) LOOP
        EXIT WHEN strpos(said, tag) = 0;
        tag := format('$watch%s$', i);
    END LOOP;
    RETURN tag || said || tag;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_quote(text) IS 'Quotes a text in dollars that it does not hold.';

-- The statements that set up a watch. What depends on the database, the owner and the parts of the table, is looked up
-- when they are run. The search_path is set, also where there is no expression: a column's type may have a cast to json
-- or text, whose function would run with the owner's rights and find what the writer has put in its way.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_statements(watched regclass, options jsonb, body text) RETURNS SETOF text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event_type CONSTANT text := options ->> 'event_type';
    function CONSTANT text := notifier.watch_function(watched, event_type);
    has_parts CONSTANT boolean := EXISTS (
        SELECT FROM pg_class AS c WHERE c.oid = watched AND (c.relkind = 'p' OR c.relhassubclass));
    statements text[];
    one record;
BEGIN
    RETURN NEXT format(E'CREATE OR REPLACE FUNCTION %s() RETURNS trigger\nLANGUAGE plpgsql\nSECURITY DEFINER\nSET jit = off\n'
        'SET search_path = pg_catalog, pg_temp\nAS %s', function, notifier.watch_quote(body));
    RETURN NEXT format('COMMENT ON FUNCTION %s() IS %L', function, 'notifier.watch_table ' || options::text);
    RETURN NEXT format('REVOKE ALL ON FUNCTION %s() FROM PUBLIC', function);
    RETURN NEXT 'DO ' || notifier.watch_quote(format(
        E'\nBEGIN\n    EXECUTE (\n        SELECT pg_catalog.format(''ALTER FUNCTION %%s() OWNER TO %%I'', %L, pg_catalog.pg_get_userbyid(relowner))\n'
        '        FROM pg_catalog.pg_class\n        WHERE oid = %L::pg_catalog.regclass\n    );\nEND\n', function, watched::text));
    FOR one IN
        SELECT
            CASE WHEN ours.name IS NULL THEN format('DROP TRIGGER IF EXISTS %I ON ', every.name)
                ELSE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON ', every.name, every.operation) END AS before,
            CASE WHEN ours.name IS NULL THEN ''
                ELSE format('%s FOR EACH STATEMENT EXECUTE FUNCTION %s()', every.tables, function) END AS after
        FROM notifier.watch_triggers(options || '{"actions": ["create", "destroy"]}') AS every
        LEFT JOIN notifier.watch_triggers(options) AS ours USING (name)
    LOOP
        statements := statements || CASE WHEN has_parts
            THEN format('        EXECUTE %L || part || %L;', one.before, one.after)
            ELSE one.before || watched || one.after END;
    END LOOP;
    IF NOT has_parts THEN
        RETURN QUERY SELECT unnest(statements);
        RETURN;
    END IF;
    RETURN NEXT 'DO ' || notifier.watch_quote(format(
        E'\nDECLARE\n    part regclass;\nBEGIN\n    FOR part IN\n        WITH RECURSIVE tree (id) AS (\n            SELECT %L::regclass::oid\n'
        '            UNION\n            SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN tree ON i.inhparent = tree.id\n        )\n'
        '        SELECT id FROM tree\n    LOOP\n%s\n    END LOOP;\nEND\n', watched::text, array_to_string(statements, E'\n')));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_statements(regclass, jsonb, text) IS 'The statements that set up a watch.';

-- +goose StatementBegin
CREATE FUNCTION notifier.watch_sql(
    watched    regclass,
    event_type text,
    key        text DEFAULT NULL,
    dataset    text DEFAULT NULL,
    recipient  text DEFAULT NULL,
    columns    text[] DEFAULT NULL,
    without    text[] DEFAULT NULL,
    condition  text DEFAULT NULL,
    changes    text[] DEFAULT NULL,
    payload    text DEFAULT NULL,
    original   boolean DEFAULT false,
    principal  text DEFAULT NULL,
    actions    text[] DEFAULT '{create,update,destroy}',
    public     boolean DEFAULT false
) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    previous CONSTANT text := notifier.act_as(notifier.watch_owner(watched));
    options jsonb;
    plan jsonb;
    operation text;
    nothing CONSTANT text := notifier.watch_nothing(watched);
BEGIN
    IF COALESCE(event_type, '') = '' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'event_type is needed';
    ELSIF NOT COALESCE(actions <@ ARRAY['create', 'update', 'destroy', 'truncate'] AND cardinality(actions) > 0, false) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'actions are create, update, destroy, truncate';
    ELSIF dataset IS NULL AND recipient IS NULL AND public IS NOT TRUE THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'neither dataset nor recipient says whom the events are for',
            HINT = 'public => true lets every known user see them.';
    ELSIF (columns IS NOT NULL)::int + (without IS NOT NULL)::int + (payload IS NOT NULL)::int > 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'columns, without, payload: one of them at the most';
    END IF;
    key := COALESCE(key, (
        SELECT string_agg(a.attname, ',' ORDER BY k.n)
        FROM pg_index AS i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = watched
          AND i.indisprimary
          AND k.n <= i.indnkeyatts
    ));
    IF key IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s has no primary key: say which column is the key', watched);
    END IF;
    options := jsonb_strip_nulls(jsonb_build_object(
        'event_type', event_type, 'key', key, 'dataset', dataset, 'recipient', recipient,
        'columns', columns, 'without', without, 'condition', condition, 'changes', changes, 'payload', payload,
        'original', COALESCE(original, false), 'principal', principal, 'actions', actions, 'public', COALESCE(public, false)));
    plan := notifier.watch_plan(watched, options);
    FOREACH operation IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
        PERFORM notifier.watch_check(notifier.watch_query(plan, operation, nothing, nothing));
    END LOOP;
    RETURN QUERY SELECT notifier.watch_statements(watched, options, notifier.watch_body(plan));
    IF previous IS NOT NULL THEN
        PERFORM notifier.act_as(previous);
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION notifier.watch_table(
    watched    regclass,
    event_type text,
    key        text DEFAULT NULL,
    dataset    text DEFAULT NULL,
    recipient  text DEFAULT NULL,
    columns    text[] DEFAULT NULL,
    without    text[] DEFAULT NULL,
    condition  text DEFAULT NULL,
    changes    text[] DEFAULT NULL,
    payload    text DEFAULT NULL,
    original   boolean DEFAULT false,
    principal  text DEFAULT NULL,
    actions    text[] DEFAULT '{create,update,destroy}',
    public     boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
    owner CONSTANT text := notifier.watch_owner(watched);
    previous CONSTANT text := notifier.act_as(owner);
    former CONSTANT oid[] := ARRAY( -- that of the table's former name, too
        SELECT w.function::oid
        FROM notifier.watched AS w
        WHERE w.watched = watch_table.watched
          AND w.event_type = watch_table.event_type
    );
    statement text;
BEGIN
    PERFORM notifier.watch_owns(watched, event_type);
    FOREACH statement IN ARRAY ARRAY(SELECT notifier.watch_sql(
        watched, event_type, key, dataset, recipient, columns, without, condition, changes, payload, original, principal,
        actions, public))
    LOOP
        EXECUTE statement;
    END LOOP;
    FOR statement IN
        SELECT 'DROP FUNCTION ' || f::regprocedure
        FROM unnest(former) AS f
        WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = f)
    LOOP
        EXECUTE statement;
    END LOOP;
    IF previous IS NOT NULL THEN
        PERFORM notifier.act_as(previous);
    END IF;
END
$$;
-- +goose StatementEnd

COMMENT ON FUNCTION notifier.watch_table(
    regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean) IS
    'Makes the changes of a table events of a type: for those who may read a dataset, for one recipient, or public.';
COMMENT ON FUNCTION notifier.watch_sql(
    regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean) IS
    'The statements by which watch_table would do so.';

-- Parts that have left a table are watched on by its function until they are unwatched themselves.
-- +goose StatementBegin
CREATE FUNCTION notifier.unwatch_sql(watched regclass, event_type text DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    w record;
BEGIN
    FOR w IN
        SELECT v.function, array_agg(v.watched) <> ARRAY[unwatch_sql.watched] AS shared
        FROM notifier.watched AS v
        WHERE unwatch_sql.event_type IS NULL OR v.event_type = unwatch_sql.event_type
        GROUP BY v.function
        HAVING unwatch_sql.watched = ANY (array_agg(v.watched))
    LOOP
        IF w.shared THEN
            RETURN QUERY
            SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
            FROM pg_trigger AS t
            WHERE t.tgfoid = w.function
              AND t.tgrelid IN (SELECT notifier.watch_tree(unwatch_sql.watched));
        ELSE
            RETURN NEXT format('DROP FUNCTION %s CASCADE', w.function);
        END IF;
    END LOOP;
    IF NOT FOUND AND event_type IS NOT NULL THEN
        RETURN NEXT format('DROP FUNCTION IF EXISTS %s() CASCADE', notifier.watch_function(watched, event_type));
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.unwatch_sql(regclass, text) IS 'The statements by which unwatch_table would take watches back.';

-- +goose StatementBegin
CREATE FUNCTION notifier.unwatch_table(watched regclass, event_type text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
    statement text;
BEGIN
    FOREACH statement IN ARRAY ARRAY(SELECT notifier.unwatch_sql(watched, event_type)) LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.unwatch_table(regclass, text) IS 'Ends the watch of a table for a type of events, or for all types.';

REVOKE ALL ON notifier.watched FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.watch_tree(oid), notifier.watch_owner(regclass), notifier.act_as(text),
    notifier.watch_check(text), notifier.watch_expression(regclass, text, text), notifier.watch_columns(regclass), notifier.watch_nothing(regclass), notifier.watch_text(regclass, text), notifier.watch_plan(regclass, jsonb),
    notifier.watch_function(regclass, text), notifier.watch_owns(regclass, text), notifier.watch_quote(text),
    notifier.watch_statements(regclass, jsonb, text),
    notifier.watch_sql(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.watch_table(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.unwatch_sql(regclass, text), notifier.unwatch_table(regclass, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    notifier.watch_tree(oid), notifier.watch_owner(regclass), notifier.act_as(text),
    notifier.watch_check(text), notifier.watch_expression(regclass, text, text), notifier.watch_columns(regclass), notifier.watch_nothing(regclass), notifier.watch_text(regclass, text), notifier.watch_plan(regclass, jsonb),
    notifier.watch_function(regclass, text), notifier.watch_owns(regclass, text), notifier.watch_quote(text),
    notifier.watch_statements(regclass, jsonb, text),
    notifier.watch_sql(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.watch_table(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.unwatch_sql(regclass, text), notifier.unwatch_table(regclass, text)
    TO notifier_publisher;
GRANT SELECT ON notifier.watched TO notifier_publisher, notifier_server;
GRANT EXECUTE ON FUNCTION
    notifier.watch_name(text, text), notifier.watch_options(text), notifier.watch_triggers(jsonb),
    notifier.watch_tree(oid)
    TO notifier_server;

-- +goose Down

-- A table that is watched could not be written to any more. Who may not change it is told which it is.
-- +goose StatementBegin
DO $$
DECLARE
    w record;
BEGIN
    FOR w IN SELECT watched, event_type FROM notifier.watched LOOP
        PERFORM notifier.unwatch_table(w.watched, w.event_type);
    END LOOP;
END
$$;
-- +goose StatementEnd
DROP FUNCTION notifier.unwatch_table(regclass, text);
DROP FUNCTION notifier.unwatch_sql(regclass, text);
DROP FUNCTION notifier.watch_table(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean);
DROP FUNCTION notifier.watch_sql(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean);
DROP FUNCTION notifier.watch_statements(regclass, jsonb, text);
DROP FUNCTION notifier.watch_quote(text);
DROP FUNCTION notifier.watch_owns(regclass, text);
DROP FUNCTION notifier.watch_function(regclass, text);
DROP FUNCTION notifier.watch_plan(regclass, jsonb);
DROP FUNCTION notifier.watch_text(regclass, text);
DROP FUNCTION notifier.watch_expression(regclass, text, text);
DROP FUNCTION notifier.watch_check(text);
DROP FUNCTION notifier.watch_nothing(regclass);
DROP FUNCTION notifier.watch_columns(regclass);
DROP FUNCTION notifier.act_as(text);
DROP FUNCTION notifier.watch_owner(regclass);
DROP VIEW notifier.watched;
DROP FUNCTION notifier.watch_tree(oid);
