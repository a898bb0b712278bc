package db_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// shop is a table of our own beside pgbench's: rows come, go, and move to other
// keys, partitions and datasets.
const shop = `
	CREATE TABLE public.items (id int PRIMARY KEY, dataset text NOT NULL, v text) PARTITION BY HASH (id);
	CREATE TABLE public.items_0 PARTITION OF public.items FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE public.items_1 (v text, id int NOT NULL, dataset text NOT NULL);
	ALTER TABLE public.items ATTACH PARTITION public.items_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1)`

// shopping is its workload. Who meets somebody else gives up.
const shopping = `
\set id random(1, 40)
\set other random(1, 40)
\set d random(1, 3)
DO $$ BEGIN
	INSERT INTO public.items VALUES (:id, 'd' || :d, :client_id), (:id + 1, 'd', :d)
	ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, dataset = EXCLUDED.dataset;
EXCEPTION WHEN serialization_failure OR deadlock_detected THEN NULL; END $$;
DO $$ BEGIN
	UPDATE public.items SET id = :other, v = 'moved' WHERE id = :id;
EXCEPTION WHEN unique_violation OR serialization_failure THEN NULL; END $$;
DO $$ BEGIN
	UPDATE public.items SET dataset = 'd' || :d, v = v || '.' WHERE id IN (:id, :other);
	DELETE FROM public.items WHERE id = :other - 1;
EXCEPTION WHEN serialization_failure OR deadlock_detected THEN NULL; END $$;
`

// watched are the tables, with what distinguishes their rows for the replay.
var watched = map[string]string{
	"pgbench_accounts": "dataset => 'bid'",
	"pgbench_branches": "recipient => '''the boss of '' || bid', original => true",
	"pgbench_tellers":  "public => true, payload => 'to_json(ROW(tid, bid, tbalance, filler)::public.pgbench_tellers)'",
	"pgbench_history":  "dataset => 'bid', key => 'tid'",
	"items":            "dataset => 'dataset', condition => 'dataset <> ''d3'''",
}

// A workload nobody here has written, and one that is hostile to who follows it:
// the events that the feed reads make of the tables as they were exactly what the
// tables are.
func TestWatch_EventsAreTheDifference(t *testing.T) {
	t.Parallel()
	program := pgbench(t)
	c := db.Config{URL: dbtest.New(t)}
	bench := func(args ...string) {
		t.Helper()
		command := osexec.CommandContext(t.Context(), program, append(args, c.URL)...)
		command.Env = append(os.Environ(), "PGOPTIONS=-c search_path=public")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("pgbench %v: %v: %s", args, err, out)
		}
	}
	bench("-i", "-q", "--partitions=3", "--foreign-keys")
	conn := dbtest.Connect(t, c.URL)
	exec(t, conn, `SET search_path = public`)
	exec(t, conn, shop)
	exec(t, conn, `CREATE SCHEMA before`)
	for table, args := range watched {
		exec(t, conn, `CREATE TABLE before.`+table+` AS TABLE `+table)
		exec(t, conn, `SELECT notifier.watch_table('`+table+`', '`+table+`', `+args+`)`)
	}
	l := follow(t, open(t, c))
	script := filepath.Join(t.TempDir(), "shopping.sql")
	if err := os.WriteFile(script, []byte(shopping), 0o600); err != nil {
		t.Fatal(err)
	}
	bench("-n", "-c", "8", "-t", "150", "-b", "tpcb-like", "-b", "simple-update", "-f", script)
	l.waitFor(t, scalar[int](t, conn, `SELECT count(*)::int FROM notifier.events`))
	redo(t, conn, l.seen())
	for table := range watched {
		differ := scalar[int](t, conn, `SELECT count(*)::int FROM (
			(TABLE before.`+table+` EXCEPT ALL SELECT * FROM `+table+` AS r WHERE coalesce(to_jsonb(r) ->> 'dataset', '') <> 'd3')
			UNION ALL
			(SELECT * FROM `+table+` AS r WHERE coalesce(to_jsonb(r) ->> 'dataset', '') <> 'd3' EXCEPT ALL TABLE before.`+table+`)) AS d`)
		if differ > 0 {
			t.Errorf("%s: %d rows differ", table, differ)
		}
	}
	if n := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.dropped`); n > 0 {
		t.Errorf("%d notes of dropped events", n)
	}
	t.Logf("%d events", len(l.seen()))
}

// redo does to the tables of the schema before what events say.
func redo(t *testing.T, conn *pgx.Conn, events []*notifier.Event) {
	t.Helper()
	exec(t, conn, `
		CREATE FUNCTION pg_temp.apply(type text, action text, key text, payload json) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			name text := quote_ident(type);
			id text := CASE type WHEN 'items' THEN 'id' ELSE substr(type, 9, 1) || 'id' END;
			changed int := 1;
		BEGIN
			IF action IN ('destroy', 'update') THEN
				EXECUTE format('DELETE FROM before.%I WHERE %I::text = $1', type, id) USING key;
				GET DIAGNOSTICS changed = ROW_COUNT;
			END IF;
			IF changed <> 1 THEN
				RAISE '% of % %: % rows', action, type, key, changed;
			END IF;
			IF action IN ('create', 'update') THEN
				EXECUTE format('INSERT INTO before.%I SELECT * FROM json_populate_record(NULL::public.%I, $1)', type, type) USING payload;
			END IF;
		END $$`)
	exec(t, conn, `CREATE INDEX ON before.pgbench_accounts ((aid::text))`)
	batch := &pgx.Batch{}
	for _, e := range events {
		batch.Queue(`SELECT pg_temp.apply($1, $2, $3, $4)`, e.Type, e.Action, e.Key, e.Payload)
	}
	if err := conn.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
}
