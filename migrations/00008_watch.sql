-- An application's own tables as events: notifier.watch_table(), what it writes, and what becomes of rows nobody could
-- be told of.

-- +goose Up

-- What a watched table could not say. A reader who finds a row here knows that some event is missing, and why.
CREATE TABLE notifier.dropped (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dropped_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    watched    text,
    event_type text,
    action     text,
    key        text,
    code       text,
    message    text,
    count      bigint NOT NULL DEFAULT 1,
    who        text DEFAULT session_user
);
CREATE INDEX dropped_at ON notifier.dropped (dropped_at);
COMMENT ON TABLE notifier.dropped IS
    'Changes of watched tables that became no event. Kept as long as events; what was removed is counted on in one row.';
COMMENT ON COLUMN notifier.dropped.code IS 'SQLSTATE of what went wrong; null: nobody was named whom the event is for';
COMMENT ON COLUMN notifier.dropped.count IS 'how many changes this row stands for';

-- Notes a change that becomes no event, and returns false, for use in a condition. It is for the functions that
-- watch_table writes. SECURITY DEFINER, so that publishers can add rows of this form only; they may as well add as many
-- events. Of one statement the first twenty are noted one by one, the others counted by drop_others.
-- +goose StatementBegin
CREATE FUNCTION notifier.drop_row(watched text, event_type text, action text, key text, code text, message text)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    so_far CONSTANT bigint := COALESCE(NULLIF(current_setting('notifier.dropped', true), '')::bigint, 0) + 1;
BEGIN
    PERFORM set_config('notifier.dropped', so_far::text, true);
    IF so_far <= 20 THEN
        INSERT INTO notifier.dropped (watched, event_type, action, key, code, message)
        VALUES ("left"(drop_row.watched, 200), "left"(drop_row.event_type, 200), "left"(drop_row.action, 20),
            "left"(drop_row.key, 200), "left"(drop_row.code, 5), "left"(drop_row.message, 500));
    END IF;
    RETURN false;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.drop_row(text, text, text, text, text, text) IS
    'Notes that a change of a watched table becomes no event. For the functions that watch_table writes.';

-- +goose StatementBegin
CREATE FUNCTION notifier.drop_others(watched text, event_type text) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    others CONSTANT bigint := COALESCE(NULLIF(current_setting('notifier.dropped', true), '')::bigint, 0) - 20;
BEGIN
    IF others > 0 THEN
        INSERT INTO notifier.dropped (watched, event_type, message, count)
        VALUES ("left"(drop_others.watched, 200), "left"(drop_others.event_type, 200),
            'more of the same statement', others);
    END IF;
    PERFORM set_config('notifier.dropped', '', true);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.drop_others(text, text) IS 'Counts what drop_row has not noted of a statement.';

-- TRUNCATE of a partitioned table runs its trigger, and then those of all partitions, which have nothing to add. The
-- first notes who is still to come.
-- +goose StatementBegin
CREATE FUNCTION notifier.is_truncated_with_parent(watch text, relation oid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    expected CONSTANT text[] := string_to_array(current_setting('notifier.truncating', true), ' ');
    name CONSTANT text := md5(watch) || ':';
BEGIN
    IF name || relation = ANY (expected) THEN
        PERFORM set_config('notifier.truncating', array_to_string(array_remove(expected, name || relation), ' '), true);
        RETURN true;
    END IF;
    PERFORM set_config('notifier.truncating', array_to_string(expected || ARRAY(
        SELECT name || part.relid::oid
        FROM pg_partition_tree(relation::regclass) AS part
        WHERE part.relid <> relation
    ), ' '), true);
    RETURN false;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.is_truncated_with_parent(text, oid) IS 'Whether a TRUNCATE has been told of already.';

-- An identifier has 63 bytes. What is longer, or not told from others by its name, gets a hash.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_name(name text, seed text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    short text := name;
BEGIN
    IF seed IS NULL AND octet_length(name) <= 63 THEN
        RETURN name;
    END IF;
    WHILE octet_length(short) > 54 LOOP
        short := "left"(short, LEAST(length(short), 55) - 1);
    END LOOP;
    RETURN short || '_' || "left"(md5(COALESCE(seed, name)), 8);
END
$$;
-- +goose StatementEnd

-- The state of a watch is its triggers and the comment on their function, so that it is dumped and restored with the
-- table, and nobody needs a right on a registry. Anybody can comment a function of his own with anything.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_options(comment text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF starts_with(comment, 'notifier.watch_table {') AND octet_length(comment) < 100000 THEN
        RETURN substr(comment, 22)::jsonb;
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN OTHERS THEN
        RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_options(text) IS 'What the comment on a trigger function says of a watch; null: nothing.';

-- The triggers of a watch, on each table of a tree. An update is always looked at: it may move a row in or out of what
-- is watched.
CREATE FUNCTION notifier.watch_triggers(options jsonb, OUT name text, OUT operation text, OUT tables text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT notifier.watch_name('notifier_' || lower(t.operation) || '_' || (options ->> 'event_type')), t.operation, t.tables
    FROM (VALUES
        ('INSERT', ' REFERENCING NEW TABLE AS notifier_new', options -> 'actions' ? 'create'),
        ('UPDATE', ' REFERENCING OLD TABLE AS notifier_old NEW TABLE AS notifier_new', true),
        ('DELETE', ' REFERENCING OLD TABLE AS notifier_old', options -> 'actions' ? 'destroy'),
        ('TRUNCATE', '', options -> 'actions' ?| ARRAY['destroy', 'truncate'])
    ) AS t (operation, tables, wanted)
    WHERE t.wanted
$$;
COMMENT ON FUNCTION notifier.watch_triggers(jsonb) IS 'The triggers that a watch has on each table.';

-- What follows writes SQL. A term of a plan is a column of the row, new."name", or the caller's expression, in which
-- the row's columns stand by their bare names: they are of the innermost FROM, where there is nothing else. The lines
-- around it end a comment at its end. Where there is no expression, everything has its schema, operators too, in place
-- of a search_path.

-- Where a row belongs: whether it is watched at all, its key, and for whom it is. Fenced by OFFSET 0, expressions are
-- computed once.
CREATE FUNCTION notifier.watch_place(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        '(SELECT (%s) IS TRUE AS watched, (%s)::pg_catalog.text AS key, (%s)::pg_catalog.text AS recipient, '
        '(%s)::pg_catalog.text AS dataset_id FROM (SELECT %s.*) AS new%s)',
        COALESCE(plan ->> 'condition', 'true'), plan ->> 'key', COALESCE(plan ->> 'recipient', 'NULL'),
        COALESCE(plan ->> 'dataset', 'NULL'), source, CASE WHEN (plan ->> 'expressive')::boolean THEN ' OFFSET 0' ELSE '' END)
$$;

-- What is told of a row. In an expression "old" is what the statement around it calls so.
CREATE FUNCTION notifier.watch_payload(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN plan ? 'payload' THEN format(
            '(SELECT pg_catalog.to_json(told.payload) FROM (SELECT (%s) AS payload FROM (SELECT %s.*) AS new) AS told)',
            plan ->> 'payload', source)
        WHEN plan ? 'columns' THEN format(
            '(SELECT pg_catalog.row_to_json(told) FROM (SELECT %s) AS told)',
            (SELECT string_agg(format('%s.%I', source, c.name), ', ' ORDER BY c.n)
             FROM jsonb_array_elements_text(plan -> 'columns') WITH ORDINALITY AS c (name, n)))
        ELSE format('pg_catalog.row_to_json(%s."notifier: row")', source)
    END
$$;

CREATE FUNCTION notifier.watch_principal(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN plan ? 'principal'
        THEN format('(SELECT (%s)::pg_catalog.text FROM (SELECT %s.*) AS new)', plan ->> 'principal', source)
        ELSE 'NULL::pg_catalog.text'
    END
$$;

-- The condition that an event has somebody to go to. CASE, because AND and OR promise no order.
CREATE FUNCTION notifier.watch_addressed(plan jsonb, event text, action text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN (plan ->> 'public')::boolean THEN 'true'
        ELSE format(
            'CASE WHEN %1$s.recipient IS NOT NULL OR %1$s.dataset_id IS NOT NULL THEN true '
            'ELSE notifier.drop_row(%2$L, %3$L, %4$s, %1$s.key, NULL, ''neither a recipient nor a dataset'') END',
            event, plan ->> 'name', plan ->> 'event_type', action)
    END
$$;

-- The INSERT for what a statement has done. The two tables of an UPDATE have their rows in the same order, so their
-- numbers pair them, whatever the key is. A row that an update has moved (to another key, dataset, recipient, in or out
-- of the condition) is destroyed for those who saw it and created for those who see it, each told of nothing else. What
-- is destroyed comes first: its key may be another row's new one.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_query(plan jsonb, operation text, new_rows text, old_rows text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wants CONSTANT jsonb := plan -> 'actions';
    tells_before CONSTANT boolean := plan ?| ARRAY['payload', 'principal'];
    numbered CONSTANT text := 'pg_catalog.row_number() OVER () AS "notifier: number", ';
    source CONSTANT text := '(SELECT %s"notifier: r" AS "notifier: row", "notifier: r".* FROM %s AS "notifier: r") AS %s';
    head CONSTANT text := format(
        E'INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal, payload, original)\nSELECT %L, ',
        plan ->> 'event_type');
BEGIN
    IF operation <> 'UPDATE' THEN
        RETURN head || format(E'%L, place.key, place.recipient, place.dataset_id, %s, %s, NULL\nFROM %s%s\nCROSS JOIN LATERAL %s AS place\n'
            'WHERE CASE WHEN place.watched THEN %s ELSE false END',
            CASE operation WHEN 'INSERT' THEN 'create' ELSE 'destroy' END,
            notifier.watch_principal(plan, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
            notifier.watch_payload(plan, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
            CASE operation WHEN 'INSERT' THEN format(source, '', new_rows, 'new') ELSE format(source, '', old_rows, 'old') END,
            CASE WHEN operation = 'INSERT' AND tells_before
                THEN E'\nLEFT JOIN ' || format(source, '', new_rows, 'old') || ' ON false' ELSE '' END,
            notifier.watch_place(plan, CASE operation WHEN 'INSERT' THEN 'new' ELSE 'old' END),
            notifier.watch_addressed(plan, 'place',
                CASE operation WHEN 'INSERT' THEN quote_literal('create') ELSE quote_literal('destroy') END));
    END IF;
    RETURN head || format(
        E'e.action, e.key, e.recipient, e.dataset_id, e.principal, e.payload, e.original\nFROM %s\nFULL JOIN %s\n'
        '  ON old."notifier: number" OPERATOR(pg_catalog.=) new."notifier: number"\n',
        format(source, numbered, new_rows, 'new'), format(source, numbered, old_rows, 'old'))
        || format(
        E'CROSS JOIN LATERAL %s AS was\nCROSS JOIN LATERAL %s AS now\nCROSS JOIN LATERAL (SELECT '
        'ROW(was.watched, was.key, was.recipient, was.dataset_id)::pg_catalog.record OPERATOR(pg_catalog.*<>) '
        'ROW(now.watched, now.key, now.recipient, now.dataset_id)::pg_catalog.record AS moved) AS m\nCROSS JOIN LATERAL (\n',
        notifier.watch_place(plan, 'old'), notifier.watch_place(plan, 'new'))
        || CASE WHEN wants ? 'destroy' THEN format(
        E'SELECT 0 AS number, ''destroy'' AS action, was.key, was.recipient, was.dataset_id, %s AS principal, %s AS payload, '
        'NULL::pg_catalog.json AS original\nWHERE was.watched AND m.moved\nUNION ALL\n',
        notifier.watch_principal(plan, 'old'), notifier.watch_payload(plan, 'old')) ELSE '' END
        || format(
        E'SELECT new."notifier: number" AS number, CASE WHEN m.moved THEN ''create'' ELSE ''update'' END AS action, now.key, now.recipient, now.dataset_id, '
        '%s AS principal, %s AS payload, %s AS original\n'
        'FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT old.*) AS old ON NOT m.moved\n'
        'WHERE now.watched AND CASE WHEN m.moved THEN %s ELSE %s END\nOFFSET 0) AS e\n'
        'WHERE (old."notifier: row" OPERATOR(pg_catalog.*=) new."notifier: row") IS NOT TRUE AND %s\nORDER BY e.number',
        notifier.watch_principal(plan, 'new'), notifier.watch_payload(plan, 'new'),
        CASE WHEN (plan ->> 'original')::boolean
            THEN format('CASE WHEN m.moved THEN NULL ELSE %s END', notifier.watch_payload(plan, 'old'))
            ELSE 'NULL::pg_catalog.json' END,
        (wants ? 'create')::text,
        CASE WHEN NOT wants ? 'update' THEN 'false' WHEN plan ? 'changes' THEN (
            SELECT format('ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record',
                string_agg(format('new.%I', c.name), ', '), string_agg(format('old.%I', c.name), ', '))
            FROM jsonb_array_elements_text(plan -> 'changes') AS c (name)) ELSE 'true' END,
        notifier.watch_addressed(plan, 'e', 'e.action'));
END
$$;
-- +goose StatementEnd

-- A statement's part of the trigger function. An expression may fail for a row: then the whole is tried row by row, and
-- what fails is noted. A row goes there and back as JSON, because a partition's rows have no type in common. What is not
-- the expression's fault is the statement's.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_step(plan jsonb, operation text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    populated CONSTANT text := format('json_populate_record(NULL::%s, pair.', plan ->> 'name');
    same CONSTANT text := format(
        E'GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT;\n'
        'IF "left"(code, 2) = ANY (''{25,40,53,55,57,58,XX}'') THEN\n    RAISE;\nEND IF;\n');
BEGIN
    IF NOT (plan ->> 'expressive')::boolean THEN
        RETURN notifier.watch_query(plan, operation, 'notifier_new', 'notifier_old') || E';\n';
    END IF;
    RETURN format(E'BEGIN\n%s;\nEXCEPTION WHEN OTHERS THEN\n%sFOR pair IN %s LOOP\nBEGIN\n%s;\nEXCEPTION WHEN OTHERS THEN\n%s',
        notifier.watch_query(plan, operation, 'notifier_new', 'notifier_old'),
        same,
        CASE operation
            WHEN 'INSERT' THEN 'SELECT row_to_json("notifier: r") AS now, NULL::json AS was FROM notifier_new AS "notifier: r"'
            WHEN 'DELETE' THEN 'SELECT NULL::json AS now, row_to_json("notifier: r") AS was FROM notifier_old AS "notifier: r"'
            ELSE 'SELECT row_to_json(new.r) AS now, row_to_json(old.r) AS was '
                'FROM (SELECT row_number() OVER () AS n, "notifier: r" AS r FROM notifier_new AS "notifier: r") AS new '
                'FULL JOIN (SELECT row_number() OVER () AS n, "notifier: r" AS r FROM notifier_old AS "notifier: r") AS old USING (n) '
                'WHERE (old.r *= new.r) IS NOT TRUE'
        END,
        notifier.watch_query(plan, operation, populated || 'now)', populated || 'was)'),
        same)
        || format(E'BEGIN\nSELECT (%s)::text INTO STRICT key FROM %sAS new;\nEXCEPTION WHEN OTHERS THEN\nkey := NULL;\nEND;\n'
        'PERFORM notifier.drop_row(%L, %L, %L, key, code, said);\nEND;\nEND LOOP;\nEND;\n',
        plan ->> 'key', populated || CASE operation WHEN 'DELETE' THEN 'was) ' ELSE 'now) ' END,
        plan ->> 'name', plan ->> 'event_type',
        CASE operation WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'destroy' END);
END
$$;
-- +goose StatementEnd

-- The body of the trigger function. Only where a row moves to another partition can an update have two tables that are
-- not of the same length (a trigger there has refused it): then nothing is an update.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_body(plan jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wants CONSTANT jsonb := plan -> 'actions';
    step text := notifier.watch_step(plan, 'UPDATE');
    body text := E'\n#variable_conflict use_column\n'
        '-- Written by notifier.watch_table: call that again rather than change this.\n';
BEGIN
    IF (plan ->> 'expressive')::boolean THEN
        body := body || E'DECLARE\npair record;\ncode text;\nsaid text;\nkey text;\n';
    END IF;
    IF (plan ->> 'partitioned')::boolean THEN
        step := E'IF (SELECT pg_catalog.count(*) FROM notifier_new) OPERATOR(pg_catalog.=) '
            '(SELECT pg_catalog.count(*) FROM notifier_old) THEN\n' || step || E'ELSE\n'
            || CASE WHEN wants ? 'destroy' THEN notifier.watch_step(plan, 'DELETE') ELSE '' END
            || CASE WHEN wants ? 'create' THEN notifier.watch_step(plan, 'INSERT') ELSE '' END || E'END IF;\n';
    END IF;
    body := body || E'BEGIN\nIF TG_OP OPERATOR(pg_catalog.=) ''UPDATE'' THEN\n' || step;
    IF wants ? 'create' THEN
        body := body || E'ELSIF TG_OP OPERATOR(pg_catalog.=) ''INSERT'' THEN\n' || notifier.watch_step(plan, 'INSERT');
    END IF;
    IF wants ? 'destroy' THEN
        body := body || E'ELSIF TG_OP OPERATOR(pg_catalog.=) ''DELETE'' THEN\n' || notifier.watch_step(plan, 'DELETE');
    END IF;
    IF wants ?| ARRAY['destroy', 'truncate'] THEN
        body := body || format(
            E'ELSIF TG_OP OPERATOR(pg_catalog.=) ''TRUNCATE'' THEN\nIF NOT notifier.is_truncated_with_parent(%L, TG_RELID) THEN\n%s;\nEND IF;\n',
            concat_ws(' ', plan ->> 'name', plan ->> 'event_type'),
            CASE WHEN wants ? 'truncate' OR (plan ->> 'public')::boolean
                THEN format('INSERT INTO notifier.events (type, action) VALUES (%L, ''truncate'')', plan ->> 'event_type')
                ELSE format('PERFORM notifier.drop_row(%L, %L, ''truncate'', NULL, NULL, ''the table was truncated, and truncate is not among the actions'')',
                    plan ->> 'name', plan ->> 'event_type') END);
    END IF;
    RETURN body || E'END IF;\n' || format(
        E'IF pg_catalog.current_setting(''notifier.dropped'', true) OPERATOR(pg_catalog.<>) '''' THEN\n'
        'PERFORM notifier.drop_others(%L, %L);\nEND IF;\nRETURN NULL;\nEND\n', plan ->> 'name', plan ->> 'event_type');
END
$$;
-- +goose StatementEnd

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
        OR c.relnamespace IN ('notifier'::regnamespace, 'pg_catalog'::regnamespace)
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

-- Demands that a term is one expression, no more and no less, and returns its type. It is parsed in two places at once:
-- what ends one of them too early does not fit the other. CASE takes no set-returning function either.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_type(watched regclass, argument text, term text, before boolean) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    type text;
    sqlstate_ text;
    said text;
BEGIN
    EXECUTE format(
        'SELECT pg_typeof((SELECT CASE WHEN true THEN (%1$s) END FROM (SELECT t.* FROM ONLY %2$s AS t WHERE false) AS new)), '
        '(SELECT (%1$s) FROM (SELECT t.* FROM ONLY %2$s AS t WHERE false) AS new) IS NULL %3$s',
        term, watched,
        CASE WHEN before THEN format('FROM (SELECT) AS one LEFT JOIN (SELECT t.* FROM ONLY %s AS t) AS old ON false', watched) ELSE '' END)
    INTO type;
    RETURN type;
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS sqlstate_ = RETURNED_SQLSTATE, said = MESSAGE_TEXT;
        RAISE EXCEPTION USING ERRCODE = sqlstate_,
            MESSAGE = format('%s is neither a column of %s nor an SQL expression over its columns: %s', argument, watched, said),
            HINT = 'What is not in pg_catalog needs its schema before it.';
END
$$;
-- +goose StatementEnd

-- Turns the options into what the functions above need.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_plan(watched regclass, options jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan jsonb := options || jsonb_build_object('name', watched::text, 'expressive', false);
    there CONSTANT text[] := ARRAY(
        SELECT a.attname FROM pg_attribute AS a
        WHERE a.attrelid = watched AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
    parts CONSTANT text[] := ARRAY(SELECT btrim(part) FROM unnest(string_to_array(options ->> 'key', ',')) AS part);
    unknown text;
    argument text;
    type text;
BEGIN
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
            plan := plan || jsonb_build_object(argument, format('new.%I', options ->> argument));
        ELSIF argument = 'key' AND parts <@ there THEN
            plan := plan || jsonb_build_object('key', (
                SELECT format('pg_catalog.concat(%s)', string_agg(format('new.%I::pg_catalog.text', p.name), ', '','', ' ORDER BY p.n))
                FROM unnest(parts) WITH ORDINALITY AS p (name, n)));
        ELSE
            plan := plan || jsonb_build_object(argument, E'\n' || (options ->> argument) || E'\n', 'expressive', true);
        END IF;
        type := notifier.watch_type(watched, argument, plan ->> argument, argument IN ('principal', 'payload'));
        IF argument = 'condition' AND type <> 'boolean' THEN
            RAISE datatype_mismatch USING MESSAGE = format('condition must be of type boolean, it is of type %s', type);
        END IF;
    END LOOP;
    IF NOT plan ? 'columns' AND NOT plan ? 'payload' AND (plan ? 'without' OR EXISTS (
        SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent WHERE c.oid = watched AND c.relkind = 'r'
    )) THEN
        -- What inherits from a table may have more columns, which were not asked for.
        plan := plan || jsonb_build_object('columns', ARRAY(
            SELECT c.name FROM unnest(there) WITH ORDINALITY AS c (name, n)
            WHERE NOT COALESCE(options -> 'without', '[]') ? c.name ORDER BY c.n));
    END IF;
    RETURN plan || jsonb_build_object('partitioned', (SELECT relkind = 'p' FROM pg_class WHERE oid = watched));
END
$$;
-- +goose StatementEnd

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

-- The statements that set up a watch. What depends on the database, the owner and the parts of the table, is looked up
-- when they are run.
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
    RETURN NEXT format(E'CREATE OR REPLACE FUNCTION %s() RETURNS trigger\nLANGUAGE plpgsql\nSECURITY DEFINER\nSET jit = off\n%sAS %s',
        function, CASE WHEN options ? 'expressive' THEN E'SET search_path = pg_catalog, pg_temp\n' ELSE '' END,
        notifier.watch_quote(body));
    RETURN NEXT format('COMMENT ON FUNCTION %s() IS %L', function, 'notifier.watch_table ' || (options - 'expressive')::text);
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
    nothing CONSTANT text := format('(SELECT t.* FROM ONLY %s AS t WHERE false)', watched);
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
        EXECUTE notifier.watch_query(plan, operation, nothing, nothing);
    END LOOP;
    RETURN QUERY
    SELECT notifier.watch_statements(
        watched, CASE WHEN (plan ->> 'expressive')::boolean THEN options || '{"expressive": true}' ELSE options END,
        notifier.watch_body(plan));
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
    function CONSTANT text := notifier.watch_function(watched, event_type);
    former CONSTANT oid[] := ARRAY( -- that of the table's former name, too
        SELECT w.function::oid
        FROM notifier.watched AS w
        WHERE w.watched = watch_table.watched
          AND w.event_type = watch_table.event_type
    );
    statement text;
BEGIN
    IF EXISTS (
        SELECT FROM pg_proc AS p
        WHERE p.oid = to_regprocedure(function || '()')
          AND (p.proowner <> (SELECT c.relowner FROM pg_class AS c WHERE c.oid = watched)
            OR notifier.watch_options(obj_description(p.oid, 'pg_proc')) ->> 'event_type' IS DISTINCT FROM event_type)
    ) THEN
        RAISE duplicate_function USING MESSAGE = format('there is a function %s() already that watches nothing', function);
    END IF;
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

REVOKE ALL ON notifier.dropped, notifier.watched FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.drop_row(text, text, text, text, text, text),
    notifier.drop_others(text, text),
    notifier.is_truncated_with_parent(text, oid),
    notifier.watch_name(text, text),
    notifier.watch_options(text),
    notifier.watch_triggers(jsonb),
    notifier.watch_place(jsonb, text),
    notifier.watch_payload(jsonb, text),
    notifier.watch_principal(jsonb, text),
    notifier.watch_addressed(jsonb, text, text),
    notifier.watch_query(jsonb, text, text, text),
    notifier.watch_step(jsonb, text),
    notifier.watch_body(jsonb),
    notifier.watch_tree(oid),
    notifier.watch_owner(regclass),
    notifier.act_as(text),
    notifier.watch_type(regclass, text, text, boolean),
    notifier.watch_plan(regclass, jsonb),
    notifier.watch_function(regclass, text),
    notifier.watch_quote(text),
    notifier.watch_statements(regclass, jsonb, text),
    notifier.watch_sql(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.watch_table(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.unwatch_sql(regclass, text),
    notifier.unwatch_table(regclass, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    notifier.drop_row(text, text, text, text, text, text),
    notifier.drop_others(text, text),
    notifier.is_truncated_with_parent(text, oid),
    notifier.watch_name(text, text),
    notifier.watch_options(text),
    notifier.watch_triggers(jsonb),
    notifier.watch_place(jsonb, text),
    notifier.watch_payload(jsonb, text),
    notifier.watch_principal(jsonb, text),
    notifier.watch_addressed(jsonb, text, text),
    notifier.watch_query(jsonb, text, text, text),
    notifier.watch_step(jsonb, text),
    notifier.watch_body(jsonb),
    notifier.watch_tree(oid),
    notifier.watch_owner(regclass),
    notifier.act_as(text),
    notifier.watch_type(regclass, text, text, boolean),
    notifier.watch_plan(regclass, jsonb),
    notifier.watch_function(regclass, text),
    notifier.watch_quote(text),
    notifier.watch_statements(regclass, jsonb, text),
    notifier.watch_sql(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.watch_table(regclass, text, text, text, text, text[], text[], text, text[], text, boolean, text, text[], boolean),
    notifier.unwatch_sql(regclass, text),
    notifier.unwatch_table(regclass, text)
    TO notifier_publisher;
GRANT EXECUTE ON FUNCTION
    notifier.watch_name(text, text), notifier.watch_options(text), notifier.watch_triggers(jsonb), notifier.watch_tree(oid)
    TO notifier_server;
GRANT SELECT ON notifier.watched TO notifier_publisher, notifier_server;
GRANT SELECT, DELETE, INSERT (dropped_at, message, count) ON notifier.dropped TO notifier_server;

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
DROP FUNCTION notifier.watch_function(regclass, text);
DROP FUNCTION notifier.watch_plan(regclass, jsonb);
DROP FUNCTION notifier.watch_type(regclass, text, text, boolean);
DROP FUNCTION notifier.act_as(text);
DROP FUNCTION notifier.watch_owner(regclass);
DROP FUNCTION notifier.watch_body(jsonb);
DROP FUNCTION notifier.watch_step(jsonb, text);
DROP FUNCTION notifier.watch_query(jsonb, text, text, text);
DROP FUNCTION notifier.watch_addressed(jsonb, text, text);
DROP FUNCTION notifier.watch_principal(jsonb, text);
DROP FUNCTION notifier.watch_payload(jsonb, text);
DROP FUNCTION notifier.watch_place(jsonb, text);
DROP FUNCTION notifier.is_truncated_with_parent(text, oid);
DROP FUNCTION notifier.drop_others(text, text);
DROP FUNCTION notifier.drop_row(text, text, text, text, text, text);
DROP VIEW notifier.watched;
DROP FUNCTION notifier.watch_tree(oid);
DROP FUNCTION notifier.watch_triggers(jsonb);
DROP FUNCTION notifier.watch_options(text);
DROP FUNCTION notifier.watch_name(text, text);
DROP TABLE notifier.dropped;
