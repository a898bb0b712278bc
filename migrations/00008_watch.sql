-- An application's own tables as events: the function that notifier.watch_table() writes for a table's triggers, and what
-- becomes of changes that nobody could be told of.

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
-- events. Of one statement the first twenty are noted one by one, the others counted by drop_others. Anybody can set what
-- counts them to anything; the trigger function begins anew.
-- +goose StatementBegin
CREATE FUNCTION notifier.drop_row(watched text, event_type text, action text, key text, code text, message text)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    so_far CONSTANT bigint := COALESCE(substring(current_setting('notifier.dropped', true) FROM '^[0-9]{1,9}$')::bigint, 0) + 1;
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
    others CONSTANT bigint := COALESCE(substring(current_setting('notifier.dropped', true) FROM '^[0-9]{1,9}$')::bigint, 0) - 20;
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
-- first notes who is still to come, in this statement: in TRUNCATE part, parent; nobody comes for the part any more.
-- +goose StatementBegin
CREATE FUNCTION notifier.is_truncated_with_parent(watch text, relation oid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    expected CONSTANT text[] := string_to_array(current_setting('notifier.truncating', true), ' ');
    name CONSTANT text := md5(watch || statement_timestamp()) || ':';
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
COMMENT ON FUNCTION notifier.watch_name(text, text) IS 'Makes an identifier of any text.';

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

-- What follows writes SQL. A term of a plan is a column of the row or the caller's expression, in which the row's columns
-- stand by their bare names: they are of the innermost FROM, where there is nothing else. (new."name" would be taken for
-- name(new) once the column is gone.) The lines around an expression end a comment at its end. A source is what has a row's
-- columns and nothing else, so that to_json(new) in an expression is what the table has.

-- The row of a source as an expression sees it. Where a plan names the row's columns there may be others, of a table that
-- inherits from the watched one, or which Postgres does not compute.
CREATE FUNCTION notifier.watch_row(plan jsonb, source text, name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('(SELECT %s) AS %s',
        COALESCE(
            (SELECT string_agg(format('%s.%I', source, c.name), ', ' ORDER BY c.n)
             FROM jsonb_array_elements_text(plan -> 'row') WITH ORDINALITY AS c (name, n)),
            source || '.*'),
        name)
$$;
COMMENT ON FUNCTION notifier.watch_row(jsonb, text, text) IS 'Writes the row of a source as an expression sees it.';

-- The rows of a table of changes with their numbers, each as it is stored, and as its columns: a source. (To take the
-- columns out of the former, Postgres counts without those that were dropped: seen on 15.)
CREATE FUNCTION notifier.watch_numbered(plan jsonb, rows text, name text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('(SELECT row_number() OVER () AS number, "notifier: r" AS stored, "notifier: c" AS columns '
        'FROM %s AS "notifier: r" CROSS JOIN LATERAL %s) AS %s',
        rows, notifier.watch_row(plan, '"notifier: r"', '"notifier: c"'), name)
$$;
COMMENT ON FUNCTION notifier.watch_numbered(jsonb, text, text) IS 'Writes the rows of a table of changes with their numbers.';

-- Where a row belongs: whether it is watched at all, its key, and for whom it is. Fenced by OFFSET 0, expressions are
-- computed once.
CREATE FUNCTION notifier.watch_place(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        '(SELECT (%s) IS TRUE AS watched, (%s)::pg_catalog.text AS key, (%s)::pg_catalog.text AS recipient, '
        '(%s)::pg_catalog.text AS dataset_id FROM %s%s)',
        COALESCE(plan ->> 'condition', 'true'), plan ->> 'key', COALESCE(plan ->> 'recipient', 'NULL'),
        COALESCE(plan ->> 'dataset', 'NULL'), notifier.watch_row(plan, source, 'new'),
        CASE WHEN (plan ->> 'expressive')::boolean THEN ' OFFSET 0' ELSE '' END)
$$;
COMMENT ON FUNCTION notifier.watch_place(jsonb, text) IS
    'Writes where a row belongs: whether it is watched, its key, and for whom it is.';

-- What is told of a row. In an expression "old" is what the statement around it calls so.
CREATE FUNCTION notifier.watch_payload(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN plan ? 'payload' THEN format(
            '(SELECT pg_catalog.to_json(told.payload) FROM (SELECT (%s) AS payload FROM %s) AS told)',
            plan ->> 'payload', notifier.watch_row(plan, source, 'new'))
        WHEN plan ? 'columns' THEN format(
            '(SELECT pg_catalog.row_to_json("notifier: r") FROM (SELECT %s FROM %s) AS "notifier: r")',
            (SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.n)
             FROM jsonb_array_elements_text(plan -> 'columns') WITH ORDINALITY AS c (name, n)),
            notifier.watch_row(plan, source, 'new'))
        ELSE format('pg_catalog.row_to_json(%s)', source)
    END
$$;
COMMENT ON FUNCTION notifier.watch_payload(jsonb, text) IS 'Writes what is told of a row.';

CREATE FUNCTION notifier.watch_principal(plan jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN plan ? 'principal'
        THEN format('(SELECT (%s)::pg_catalog.text FROM %s)', plan ->> 'principal', notifier.watch_row(plan, source, 'new'))
        ELSE 'NULL::pg_catalog.text'
    END
$$;
COMMENT ON FUNCTION notifier.watch_principal(jsonb, text) IS 'Writes who caused an event.';

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
COMMENT ON FUNCTION notifier.watch_addressed(jsonb, text, text) IS
    'Writes the condition that an event has somebody to go to.';

-- Where an updated row was and is now, and the conditions that it has moved, and that it has changed. Texts are compared
-- byte for byte, whatever their collation; other values as they are stored, for not each type has an operator.
CREATE FUNCTION notifier.watch_update(plan jsonb, before text, after text, OUT places text, OUT moved text, OUT changed text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        format(E'CROSS JOIN LATERAL %s AS was\nCROSS JOIN LATERAL %s AS now\n',
            notifier.watch_place(plan, before), notifier.watch_place(plan, after)),
        'was.watched <> now.watched OR was.key COLLATE "C" IS DISTINCT FROM now.key '
            'OR was.recipient COLLATE "C" IS DISTINCT FROM now.recipient '
            'OR was.dataset_id COLLATE "C" IS DISTINCT FROM now.dataset_id',
        CASE
            WHEN NOT plan -> 'actions' ? 'update' THEN 'false'
            WHEN plan ? 'changes' THEN (
                SELECT format('ROW(%s)::record *<> ROW(%s)::record',
                    string_agg(format('%s.%I', after, c.name), ', '), string_agg(format('%s.%I', before, c.name), ', '))
                FROM jsonb_array_elements_text(plan -> 'changes') AS c (name))
            ELSE 'true'
        END
$$;
COMMENT ON FUNCTION notifier.watch_update(jsonb, text, text) IS 'Writes what an update has done to a row.';

CREATE FUNCTION notifier.watch_insert(plan jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(
        E'INSERT INTO notifier.events (type, action, key, recipient, dataset_id, principal, payload, original)\nSELECT %L, ',
        plan ->> 'event_type')
$$;
COMMENT ON FUNCTION notifier.watch_insert(jsonb) IS 'Writes how the INSERT of an event begins.';

-- The INSERT for what a statement has done. The two tables of an UPDATE have their rows in the same order, so their
-- numbers pair them, whatever the key is. A row that an update has moved (to another key, dataset, recipient, in or out
-- of the condition) is destroyed for those who saw it and created for those who see it, each told of nothing else. What
-- is destroyed comes first: its key may be another row's new one. (Where the cascades of two foreign keys change the key
-- of one row twice in a statement, the key in between is left created.)
-- The join is FULL so that it is never a loop in a loop: the plan is kept, and may have been made for one row.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_query(plan jsonb, operation text, new_rows text, old_rows text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wants CONSTANT jsonb := plan -> 'actions';
    head CONSTANT text := notifier.watch_insert(plan);
    side CONSTANT text := CASE operation WHEN 'DELETE' THEN '"notifier: old"' ELSE '"notifier: new"' END;
    action CONSTANT text := CASE operation WHEN 'DELETE' THEN 'destroy' ELSE 'create' END;
    before CONSTANT text := '("notifier: old".columns)';
    after CONSTANT text := '("notifier: new".columns)';
    tells_before CONSTANT boolean := plan ?| ARRAY['payload', 'principal'];
    u record;
BEGIN
    IF operation <> 'UPDATE' THEN
        RETURN head || format(
            E'%L, place.key, place.recipient, place.dataset_id, %s, %s, NULL\nFROM %s AS %s%s\nCROSS JOIN LATERAL %s AS place\n'
            'WHERE CASE WHEN place.watched THEN %s ELSE false END',
            action, notifier.watch_principal(plan, side), notifier.watch_payload(plan, side),
            CASE operation WHEN 'DELETE' THEN old_rows ELSE new_rows END, side,
            CASE WHEN tells_before
                THEN format(E'\nLEFT JOIN LATERAL %s ON %s', notifier.watch_row(plan, side, 'old'), (operation = 'DELETE')::text) ELSE '' END,
            notifier.watch_place(plan, side),
            notifier.watch_addressed(plan, 'place', quote_literal(action)));
    END IF;
    u := notifier.watch_update(plan, before, after);
    RETURN head || format(
        E'e.action, e.key, e.recipient, e.dataset_id, e.principal, e.payload, e.original\nFROM %s\nFULL JOIN %s\n'
        '  ON "notifier: old".number = "notifier: new".number\n'
        '%sCROSS JOIN LATERAL (SELECT %s AS moved) AS m\nCROSS JOIN LATERAL (\n',
        notifier.watch_numbered(plan, new_rows, '"notifier: new"'), notifier.watch_numbered(plan, old_rows, '"notifier: old"'),
        u.places, u.moved)
        || CASE WHEN wants ? 'destroy' THEN format(
        E'SELECT 0 AS number, ''destroy'' AS action, was.key, was.recipient, was.dataset_id, %s AS principal, %s AS payload, '
        'NULL::json AS original%s\nWHERE was.watched AND m.moved\nUNION ALL\n',
        notifier.watch_principal(plan, before), notifier.watch_payload(plan, before),
        CASE WHEN tells_before THEN E'\nFROM ' || notifier.watch_row(plan, before, 'old') ELSE '' END) ELSE '' END
        || format(
        E'SELECT "notifier: new".number, CASE WHEN m.moved THEN ''create'' ELSE ''update'' END AS action, '
        'now.key, now.recipient, now.dataset_id, '
        '%s AS principal, %s AS payload, %s AS original\n'
        '%sWHERE now.watched AND CASE WHEN m.moved THEN %s ELSE %s END\nOFFSET 0) AS e\n'
        'WHERE ("notifier: old".stored *= "notifier: new".stored) IS NOT TRUE AND %s\nORDER BY e.number',
        notifier.watch_principal(plan, after), notifier.watch_payload(plan, after),
        CASE WHEN (plan ->> 'original')::boolean
            THEN format('CASE WHEN m.moved THEN NULL ELSE %s END', notifier.watch_payload(plan, before))
            ELSE 'NULL::json' END,
        CASE WHEN tells_before
            THEN format(E'FROM (SELECT) AS one LEFT JOIN LATERAL %s ON NOT m.moved\n', notifier.watch_row(plan, before, 'old')) ELSE '' END,
        (wants ? 'create')::text, u.changed, notifier.watch_addressed(plan, 'e', 'e.action'));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_query(jsonb, text, text, text) IS
    'Writes the INSERT for what a statement has done.';

-- What is done about an UPDATE. Most have one row, which stays where it is. For such a one the statement above takes
-- four times as long as the INSERT that it comes to, most of it to set up a join that pairs nothing and a sort that sorts
-- nothing; so it is first asked what has become of the row, and only one that has moved, or several, go there. (One
-- UPDATE takes 450,000 instructions without this and 280,000 with it, 61,000 of them unwatched; one that changes nothing
-- 300,000 and 175,000. PostgreSQL 15, in a single-user backend under valgrind --tool=callgrind, 2026-11-30.)
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_updates(plan jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before CONSTANT text := '"notifier: old"';
    after CONSTANT text := '"notifier: new"';
    original CONSTANT boolean := (plan ->> 'original')::boolean;
    tells_before CONSTANT boolean := plan ?| ARRAY['payload', 'principal'];
    new_rows CONSTANT text := 'notifier_new AS ' || after;
    both_rows CONSTANT text := new_rows || E'\nCROSS JOIN notifier_old AS ' || before;
    u CONSTANT record := notifier.watch_update(plan, before, after);
BEGIN
    RETURN format(
        E'SELECT CASE WHEN "notifier: old" *= "notifier: new" THEN ''nothing'' WHEN %s THEN ''moves'' '
        'WHEN now.watched AND %s THEN ''update'' ELSE ''nothing'' END AS what, now.key, now.recipient, now.dataset_id INTO it\n'
        'FROM %s\n%sWHERE NOT EXISTS (SELECT FROM notifier_new OFFSET 1);\n',
        u.moved, u.changed, both_rows, u.places)
        || format(
        E'IF it.what = ''update'' THEN\nIF (%s) THEN\n%s''update'', it.key, it.recipient, it.dataset_id, %s, %s, %s\n'
        'FROM %s;\nEND IF;\n',
        notifier.watch_addressed(plan, 'it', '''update'''), notifier.watch_insert(plan),
        notifier.watch_principal(plan, after), notifier.watch_payload(plan, after),
        CASE WHEN original THEN notifier.watch_payload(plan, before) ELSE 'NULL' END,
        CASE WHEN original OR tells_before THEN both_rows ELSE new_rows END
            || CASE WHEN tells_before THEN E'\nCROSS JOIN LATERAL ' || notifier.watch_row(plan, before, 'old') ELSE '' END)
        || format(
        E'ELSIF it.what = ''moves'' OR it.what IS NULL AND EXISTS (SELECT FROM notifier_old) THEN\n%s;\nEND IF',
        notifier.watch_query(plan, 'UPDATE', 'notifier_new', 'notifier_old'));
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_updates(jsonb) IS 'Writes what is done about an UPDATE.';

-- A statement's part of the trigger function. An expression may fail for a row: then all are tried again in parts, smaller
-- and smaller around one that fails, and what fails by itself is noted. (A part is of 256 rows at most: its rows are taken
-- out of an array, and each time all before them are passed. And of 1 MB and a row: PL/pgSQL takes 50 of them ahead.) Rows go there
-- and back as JSON, because a partition's rows have no type in common. What is not the expression's fault is the statement's.
-- +goose StatementBegin
CREATE FUNCTION notifier.watch_step(plan jsonb, operation text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    whole CONSTANT text := CASE operation WHEN 'UPDATE' THEN notifier.watch_updates(plan)
        ELSE notifier.watch_query(plan, operation, 'notifier_new', 'notifier_old') END;
    -- The plan that a session keeps is to depend on the table: that is what the table of changes is named for.
    typed CONSTANT text := format('(SELECT NULL::%s FROM %s WHERE false)', plan ->> 'name',
        CASE operation WHEN 'DELETE' THEN 'notifier_old' ELSE 'notifier_new' END);
    part CONSTANT text := format('json_populate_recordset(%s, array_to_json("notifier: rows".', typed);
    bounds CONSTANT text := '[at:at + size - 1]))';
    one CONSTANT text := format('json_populate_record(%s, "notifier: rows".%s[at]) ', typed,
        CASE operation WHEN 'DELETE' THEN 'was' ELSE 'now' END);
    same CONSTANT text := format(
        E'GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, said = MESSAGE_TEXT;\n'
        'IF "left"(code, 2) = ANY (''{25,40,53,55,57,58,XX}'') THEN\n    RAISE;\nEND IF;\n');
BEGIN
    IF NOT (plan ->> 'expressive')::boolean THEN
        RETURN whole || E';\n';
    END IF;
    RETURN format(E'BEGIN\n%s;\nEXCEPTION WHEN OTHERS THEN\n%sFOR "notifier: rows" IN\n'
        'SELECT array_agg(p.now ORDER BY p.n) AS now, array_agg(p.was ORDER BY p.n) AS was, count(*) AS count\n'
        'FROM (SELECT *, sum(COALESCE(octet_length(one.now::text), 0) + COALESCE(octet_length(one.was::text), 0)) '
        'OVER (ORDER BY one.n) AS bytes FROM (%s) AS one) AS p\n'
        'GROUP BY (p.n - 1) / 256, p.bytes / 1000000 ORDER BY (p.n - 1) / 256, p.bytes / 1000000\n'
        'LOOP\nat := 1;\nsize := 256;\n'
        'WHILE at <= "notifier: rows".count LOOP\nBEGIN\n%s;\nat := at + size;\nsize := size * 2;\nEXCEPTION WHEN OTHERS THEN\n%s',
        whole,
        same,
        CASE operation
            WHEN 'INSERT' THEN 'SELECT row_number() OVER () AS n, row_to_json("notifier: r") AS now, NULL::json AS was '
                'FROM notifier_new AS "notifier: r"'
            WHEN 'DELETE' THEN 'SELECT row_number() OVER () AS n, NULL::json AS now, row_to_json("notifier: r") AS was '
                'FROM notifier_old AS "notifier: r"'
            ELSE 'SELECT row_number() OVER (ORDER BY n) AS n, row_to_json(new.r) AS now, row_to_json(old.r) AS was '
                'FROM (SELECT row_number() OVER () AS n, "notifier: r" AS r FROM notifier_new AS "notifier: r") AS new '
                'FULL JOIN (SELECT row_number() OVER () AS n, "notifier: r" AS r FROM notifier_old AS "notifier: r") AS old USING (n) '
                'WHERE (old.r *= new.r) IS NOT TRUE'
        END,
        notifier.watch_query(plan, operation, part || 'now' || bounds, part || 'was' || bounds),
        same)
        || format(E'IF size > 1 THEN\nsize := size / 2;\nELSE\n'
        'BEGIN\nSELECT (%s)::text INTO STRICT key FROM %sAS new;\nEXCEPTION WHEN OTHERS THEN\nkey := NULL;\nEND;\n'
        'PERFORM notifier.drop_row(%L, %L, %L, key, code, said);\nat := at + 1;\nEND IF;\nEND;\nEND LOOP;\nEND LOOP;\nEND;\n',
        plan ->> 'key', one, plan ->> 'name', plan ->> 'event_type',
        CASE operation WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'update' ELSE 'destroy' END);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_step(jsonb, text) IS
    'Writes what the trigger function does about one kind of statement.';

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
    -- A variable that holds what others wrote has a name that no column has: one that is gone would be taken for it.
    body := body || E'DECLARE\nit record;\n';
    IF (plan ->> 'expressive')::boolean THEN
        body := body || E'"notifier: rows" record;\nat int;\nsize int;\ncode text;\nsaid text;\nkey text;\n';
    END IF;
    IF (plan ->> 'partitioned')::boolean THEN
        step := E'IF (SELECT pg_catalog.count(*) FROM notifier_new) = '
            '(SELECT pg_catalog.count(*) FROM notifier_old) THEN\n' || step || E'ELSE\n'
            || CASE WHEN wants ? 'destroy' THEN notifier.watch_step(plan, 'DELETE') ELSE '' END
            || CASE WHEN wants ? 'create' THEN notifier.watch_step(plan, 'INSERT') ELSE '' END || E'END IF;\n';
    END IF;
    body := body || E'BEGIN\nIF pg_catalog.current_setting(''notifier.dropped'', true) <> '''' THEN\n'
        'PERFORM pg_catalog.set_config(''notifier.dropped'', '''', true);\nEND IF;\n'
        'IF TG_OP = ''UPDATE'' THEN\n' || step;
    IF wants ? 'create' THEN
        body := body || E'ELSIF TG_OP = ''INSERT'' THEN\n' || notifier.watch_step(plan, 'INSERT');
    END IF;
    IF wants ? 'destroy' THEN
        body := body || E'ELSIF TG_OP = ''DELETE'' THEN\n' || notifier.watch_step(plan, 'DELETE');
    END IF;
    IF wants ?| ARRAY['destroy', 'truncate'] THEN
        body := body || format(
            E'ELSIF TG_OP = ''TRUNCATE'' THEN\n'
            'IF NOT notifier.is_truncated_with_parent(%L, TG_RELID) THEN\n%s;\nEND IF;\n',
            concat_ws(' ', plan ->> 'name', plan ->> 'event_type'),
            CASE WHEN wants ? 'truncate' OR (plan ->> 'public')::boolean
                THEN format('INSERT INTO notifier.events (type, action) VALUES (%L, ''truncate'')', plan ->> 'event_type')
                ELSE format('PERFORM notifier.drop_row(%L, %L, ''truncate'', NULL, NULL, '
                    '''the table was truncated, and truncate is not among the actions'')',
                    plan ->> 'name', plan ->> 'event_type') END);
    END IF;
    RETURN body || E'END IF;\n' || format(
        E'IF pg_catalog.current_setting(''notifier.dropped'', true) <> '''' THEN\n'
        'PERFORM notifier.drop_others(%L, %L);\nEND IF;\nRETURN NULL;\nEND\n', plan ->> 'name', plan ->> 'event_type');
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION notifier.watch_body(jsonb) IS 'Writes the body of the trigger function.';

REVOKE ALL ON notifier.dropped FROM PUBLIC;
REVOKE ALL ON FUNCTION
    notifier.drop_row(text, text, text, text, text, text), notifier.drop_others(text, text),
    notifier.is_truncated_with_parent(text, oid), notifier.watch_name(text, text), notifier.watch_options(text),
    notifier.watch_triggers(jsonb), notifier.watch_place(jsonb, text), notifier.watch_payload(jsonb, text),
    notifier.watch_principal(jsonb, text), notifier.watch_addressed(jsonb, text, text),
    notifier.watch_row(jsonb, text, text), notifier.watch_numbered(jsonb, text, text), notifier.watch_update(jsonb, text, text), notifier.watch_insert(jsonb),
    notifier.watch_query(jsonb, text, text, text), notifier.watch_updates(jsonb), notifier.watch_step(jsonb, text), notifier.watch_body(jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    notifier.drop_row(text, text, text, text, text, text), notifier.drop_others(text, text),
    notifier.is_truncated_with_parent(text, oid), notifier.watch_name(text, text), notifier.watch_options(text),
    notifier.watch_triggers(jsonb), notifier.watch_place(jsonb, text), notifier.watch_payload(jsonb, text),
    notifier.watch_principal(jsonb, text), notifier.watch_addressed(jsonb, text, text),
    notifier.watch_row(jsonb, text, text), notifier.watch_numbered(jsonb, text, text), notifier.watch_update(jsonb, text, text), notifier.watch_insert(jsonb),
    notifier.watch_query(jsonb, text, text, text), notifier.watch_updates(jsonb), notifier.watch_step(jsonb, text), notifier.watch_body(jsonb)
    TO notifier_publisher;
-- A server counts on, in a row of its own, what it removes.
GRANT SELECT, DELETE, INSERT (dropped_at, message, count) ON notifier.dropped TO notifier_server;

-- +goose Down

DROP FUNCTION notifier.watch_body(jsonb);
DROP FUNCTION notifier.watch_step(jsonb, text);
DROP FUNCTION notifier.watch_updates(jsonb);
DROP FUNCTION notifier.watch_query(jsonb, text, text, text);
DROP FUNCTION notifier.watch_insert(jsonb);
DROP FUNCTION notifier.watch_update(jsonb, text, text);
DROP FUNCTION notifier.watch_addressed(jsonb, text, text);
DROP FUNCTION notifier.watch_principal(jsonb, text);
DROP FUNCTION notifier.watch_payload(jsonb, text);
DROP FUNCTION notifier.watch_place(jsonb, text);
DROP FUNCTION notifier.watch_numbered(jsonb, text, text);
DROP FUNCTION notifier.watch_row(jsonb, text, text);
DROP FUNCTION notifier.watch_triggers(jsonb);
DROP FUNCTION notifier.watch_options(text);
DROP FUNCTION notifier.watch_name(text, text);
DROP FUNCTION notifier.is_truncated_with_parent(text, oid);
DROP FUNCTION notifier.drop_others(text, text);
DROP FUNCTION notifier.drop_row(text, text, text, text, text, text);
DROP TABLE notifier.dropped;
