package migrations_test

import (
	"fmt"
	"strings"
	"testing"
)

// evil shadows everything that the functions name, by what fails if it is ever used.
func evil(t *testing.T, a *application) {
	t.Helper()
	exec(t, a.admin, "CREATE SCHEMA evil", "GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC",
		"CREATE FUNCTION evil.trap() RETURNS pg_catalog.int4 LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$",
		"CREATE DOMAIN evil.text AS pg_catalog.int4", "CREATE DOMAIN evil.json AS pg_catalog.int4", "CREATE DOMAIN evil.jsonb AS pg_catalog.int4",
		"CREATE DOMAIN evil.regclass AS pg_catalog.int4", "CREATE DOMAIN evil.record AS pg_catalog.int4")
	for _, f := range []string{
		"format(pg_catalog.text, VARIADIC pg_catalog.text[])", "concat(VARIADIC pg_catalog.text[])", "count(pg_catalog.int4)",
		"row_to_json(pg_catalog.record)", "to_json(pg_catalog.text)", "json_populate_record(pg_catalog.anyelement, pg_catalog.json)",
		"current_setting(pg_catalog.text, pg_catalog.bool)", "set_config(pg_catalog.text, pg_catalog.text, pg_catalog.bool)",
		"upper(pg_catalog.text)", "quote_literal(pg_catalog.text)", "pg_get_userbyid(pg_catalog.oid)",
	} {
		exec(t, a.admin, "CREATE FUNCTION evil."+f+" RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$")
	}
	for _, operands := range []string{"text, text", "int8, int8", "record, record", "int4, int4", "name, name", "oid, oid"} {
		left, right, _ := strings.Cut(operands, ", ")
		exec(t, a.admin, fmt.Sprintf("CREATE FUNCTION evil.op(pg_catalog.%s, pg_catalog.%s) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$", left, right))
		for _, operator := range []string{"=", "<>", "*=", "*<>", "<", "||", ">"} {
			exec(t, a.admin, fmt.Sprintf("CREATE OPERATOR evil.%s (FUNCTION = evil.op, LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s)", operator, left, right))
		}
	}
	for _, table := range []string{"pg_class", "pg_trigger", "pg_proc", "notifier_new", "notifier_old", "issues"} {
		exec(t, a.admin, "CREATE VIEW evil."+table+" AS SELECT evil.trap()")
	}
}

// Whatever the caller's or the writer's search_path holds is not used: neither when a table is to be watched, nor when
// somebody writes, also where the functions do without a search_path of their own.
func TestWatchHostile_SearchPath(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, parts)
	evil(t, a)
	const path = "SET search_path = evil, pg_catalog, app"
	exec(t, a.admin, path)
	refused(t, a.admin, "P0001", "SELECT 1 = 1")
	exec(t, a.admin,
		"SELECT notifier.watch_table('app.issues'::pg_catalog.regclass, 'plain', dataset => 'dataset_id', key => 'id,title', original => true, changes => '{title}', columns => '{id,title}')",
		"SELECT notifier.watch_table('app.issues'::pg_catalog.regclass, 'expression', recipient => 'upper(title)', condition => 'title = title', columns => '{id}')",
		"SELECT notifier.watch_table('app.p'::pg_catalog.regclass, 'parts', dataset => 'k', columns => '{id}')",
		"SELECT notifier.watched.watched FROM notifier.watched",
		"SELECT notifier.watch_sql('app.p'::pg_catalog.regclass, 'parts', dataset => 'k')")
	exec(t, a.writer, path)
	exec(t, a.writer,
		"CREATE TEMP VIEW pg_class AS SELECT evil.trap()", "CREATE TEMP TABLE issues (n pg_catalog.int4)",
		"INSERT INTO app.issues VALUES (1, 'a', 'd1'), (2, 'b', NULL)",
		"UPDATE app.issues SET title = 'c', dataset_id = 'd2'",
		"DELETE FROM app.issues",
		"TRUNCATE app.issues",
		"INSERT INTO app.p VALUES (1, 'a', 1)",
		"UPDATE app.p SET k = 'b'",
		"TRUNCATE app.p")
	exec(t, a.admin, "RESET search_path")
	got := scalar[string](t, a.admin, "SELECT string_agg(type || n, ' ' ORDER BY type) FROM (SELECT type, count(*) AS n FROM notifier.events GROUP BY type) AS e")
	if want := "expression8 parts3 plain6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A comment is anybody's to write.
func TestWatchHostile_ForgedComments(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'real', public => true")
	stranger := newRole(t, a.admin, "stranger")
	exec(t, a.admin, "GRANT notifier_publisher TO "+stranger, "CREATE SCHEMA theirs AUTHORIZATION "+stranger)
	conn := become(t, a.url, stranger)
	exec(t, conn, "SET search_path = theirs", "CREATE TABLE t (id int)",
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END'",
		"CREATE TRIGGER notifier_update_forged AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION f()",
		"CREATE TRIGGER notifier_update_ AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION f()")
	for _, comment := range []string{
		"{", "", "null", "1", "[]", `"x"`, `{"event_type": {}}`, `{"event_type": "forged", "actions": "create"}`, `{"event_type": null, "actions": {"create": 1}}`,
		`{"event_type": "\u0000"}`, strings.Repeat("[", 90000), `{"event_type": "` + strings.Repeat("x", 200000) + `"}`, `{"event_type": "real"}`,
	} {
		exec(t, conn, "COMMENT ON FUNCTION f() IS "+quoted("notifier.watch_table "+comment))
		for _, w := range a.watched() {
			if w != "app.issues real complete" && !strings.HasPrefix(w, "theirs.t ") {
				t.Errorf("%.50s: %s", comment, w)
			}
		}
		exec(t, a.owner, "SELECT notifier.unwatch_sql('issues', 'real')")
	}
	exec(t, conn, `COMMENT ON FUNCTION f() IS 'notifier.watch_table {"event_type": "other"}'`)
	a.expectWatched("no trigger has such a name", "app.issues real complete")
}
