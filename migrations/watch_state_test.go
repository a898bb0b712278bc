package migrations_test

import (
	"bytes"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

// catalogs is all that a watch leaves in the catalogs.
func catalogs(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return scalar[string](t, conn, `
		SELECT concat(
			(SELECT string_agg(concat_ws(E'\n', pg_get_functiondef(oid), pg_get_userbyid(proowner), proacl, obj_description(oid, 'pg_proc')), E'\n' ORDER BY proname)
			FROM pg_proc
			WHERE proname LIKE 'notifier\_%'),
			(SELECT string_agg(concat_ws(' ', pg_get_triggerdef(oid), tgenabled), E'\n' ORDER BY tgrelid::regclass::text, tgname)
			FROM pg_trigger
			WHERE tgname LIKE 'notifier\_%'))`)
}

func TestWatch_AgainChangesNothing(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, parts)
	const args = "'t', public => true, recipient => 'lower(k)', columns => '{id,v}'"
	a.watch("p", args)
	before := catalogs(t, a.admin)
	a.watch("p", args)
	exec(t, a.admin, "SELECT notifier.watch_table('app.p', "+args+")")
	if diff := cmp.Diff(before, catalogs(t, a.admin)); diff != "" {
		t.Error(diff)
	}
	a.watch("p", "'t', public => true, key => 'id', columns => '{id}', actions => '{create}'")
	a.tells("INSERT INTO p VALUES (1, 'a', 1); DELETE FROM p; TRUNCATE p", `create 1 {"id":1}`)
	a.expectWatched("other actions", "app.p t complete")
	a.expectDropped("nobody asked for more")
	a.watch("p", args)
	if diff := cmp.Diff(before, catalogs(t, a.admin)); diff != "" {
		t.Error(diff)
	}
}

// What watch_sql returns does what watch_table does, run by the owner or by a superuser.
func TestWatchSQL_IsWhatWatchTableDoes(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, parts)
	for _, args := range []string{
		"'issues', 't', dataset => 'dataset_id', without => '{secret}', original => true",
		"'issues', 't', recipient => 'lower(owner)', payload => '''%s $watch$ '' || title', actions => '{create,truncate}'",
		"'p', 't', public => true, condition => 'v > 0', changes => '{v}', principal => 'session_user'",
	} {
		exec(t, a.owner, "SELECT notifier.watch_table("+args+")")
		want := catalogs(t, a.admin)
		exec(t, a.owner, "SELECT notifier.unwatch_table('issues'); SELECT notifier.unwatch_table('p')")
		for _, conn := range []*pgx.Conn{a.owner, a.admin} {
			rows, _ := a.owner.Query(t.Context(), "SELECT notifier.watch_sql("+args+")")
			statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			exec(t, conn, statements...)
			if diff := cmp.Diff(want, catalogs(t, a.admin)); diff != "" {
				t.Errorf("%s:\n%s", args, diff)
			}
			rows, _ = a.owner.Query(t.Context(), "SELECT notifier.unwatch_sql(watched) FROM notifier.watched")
			if statements, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
				t.Fatal(err)
			}
			exec(t, conn, statements...)
			a.expectWatched("unwatched")
		}
	}
}

func TestWatched_DisabledTriggers(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, parts)
	a.watch("issues", "'t', public => true")
	a.watch("p", "'t', public => true")
	exec(t, a.owner, "ALTER TABLE issues DISABLE TRIGGER notifier_update_t", "ALTER TABLE pb ENABLE REPLICA TRIGGER notifier_insert_t", "DROP TRIGGER notifier_delete_t ON pa")
	a.expectWatched("some are missing", "app.issues t without {app.issues}", "app.p t without {app.pa,app.pb}")
	a.watch("p", "'t', public => true")
	a.expectWatched("watched again", "app.issues t without {app.issues}", "app.p t complete")
	exec(t, a.owner, "ALTER TABLE issues ENABLE ALWAYS TRIGGER notifier_update_t")
	a.expectWatched("mended", "app.issues t complete", "app.p t complete")
	if options := scalar[string](t, a.owner, "SELECT options::text FROM notifier.watched WHERE watched = 'issues'::regclass"); options !=
		`{"key": "id", "public": true, "actions": ["create", "update", "destroy"], "original": false}` {
		t.Errorf("options %s", options)
	}
	for _, role := range []string{"notifier_server", "notifier_publisher"} {
		if n := scalar[int](t, become(t, a.url, role), "SELECT count(*)::int FROM notifier.watched"); n != 2 {
			t.Errorf("%s sees %d watches", role, n)
		}
	}
}

// A watch is dumped and restored with its table. The events of the restored rows are in the dump of the log.
func TestWatch_SurvivesADump(t *testing.T) {
	t.Parallel()
	dump, psql := program(t, "pg_dump"), program(t, "psql")
	a := newApplication(t, issues, parts)
	a.watch("issues", "'t', dataset => 'dataset_id', columns => '{id}'")
	a.watch("p", "'t', public => true, payload => 'v'")
	exec(t, a.writer, "INSERT INTO issues VALUES (1, 'a', 'd')", "INSERT INTO p VALUES (1, 'a', 1)")
	script, err := osexec.CommandContext(t.Context(), dump, "-N", "notifier", a.url).Output()
	if err != nil {
		t.Fatal(err)
	}
	copied := dbtest.New(t)
	restore := osexec.CommandContext(t.Context(), psql, "-qX", "-v", "ON_ERROR_STOP=1", copied)
	restore.Stdin = bytes.NewReader(script)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	conn := dbtest.Connect(t, copied)
	if diff := cmp.Diff(catalogs(t, a.admin), catalogs(t, conn)); diff != "" {
		t.Error(diff)
	}
	exec(t, conn, "UPDATE app.issues SET title = 'b'", "UPDATE app.p SET v = 2")
	if got := scalar[string](t, conn, "SELECT string_agg(concat(action, ' ', payload), ', ' ORDER BY id) FROM notifier.events"); got != `update {"id":1}, update 2` {
		t.Errorf("events %s", got)
	}
}

// program returns one of PostgreSQL's: of the version that the tests run on, or any on PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	wanted := name
	if bin := os.Getenv("NOTIFIER_POSTGRES_BIN"); bin != "" {
		wanted = filepath.Join(bin, name)
	}
	path, err := osexec.LookPath(wanted)
	if err != nil {
		t.Skipf("%s is not installed", wanted)
	}
	return path
}
