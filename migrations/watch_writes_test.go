package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestWatch_EveryWayToWrite(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues,
		"CREATE VIEW titles AS SELECT id, title FROM issues",
		"CREATE TABLE notes (id int PRIMARY KEY, issue int REFERENCES issues ON DELETE CASCADE ON UPDATE CASCADE, text text)")
	a.watch("issues", "'t', public => true, columns => '{id,title}'")
	a.watch("notes", "'n', public => true, columns => '{id,issue}'")
	a.tells("INSERT INTO issues VALUES (1, 'a'); INSERT INTO notes VALUES (10, 1), (11, 1)",
		`create 1 {"id":1,"title":"a"}`, `create 10 {"id":10,"issue":1}`, `create 11 {"id":11,"issue":1}`)
	a.tells("INSERT INTO issues VALUES (1, 'b'), (2, 'b') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
		`update 1 {"id":1,"title":"b"}`, `create 2 {"id":2,"title":"b"}`)
	a.tells("INSERT INTO issues VALUES (1, 'b') ON CONFLICT DO NOTHING")
	a.tells("UPDATE titles SET title = 'c' WHERE id = 1", `update 1 {"id":1,"title":"c"}`)
	a.tells("UPDATE issues SET id = 3 WHERE id = 1", // the rows that refer to it follow
		`destroy 1 {"id":1,"title":"c"}`, `create 3 {"id":3,"title":"c"}`,
		`update 10 {"id":10,"issue":3}`, `update 11 {"id":11,"issue":3}`)
	a.tells("DELETE FROM titles WHERE id = 3",
		`destroy 3 {"id":3,"title":"c"}`, `destroy 10 {"id":10,"issue":3}`, `destroy 11 {"id":11,"issue":3}`)
	a.tells("WITH gone AS (DELETE FROM issues RETURNING *) INSERT INTO issues (id, title) SELECT id + 2, title FROM gone",
		`destroy 2 {"id":2,"title":"b"}`, `create 4 {"id":4,"title":"b"}`)
	rows := [][]any{{5, "e"}, {6, "f"}}
	if _, err := a.writer.CopyFrom(t.Context(), pgx.Identifier{"issues"}, []string{"id", "title"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	a.expect("COPY", `create 5 {"id":5,"title":"e"}`, `create 6 {"id":6,"title":"f"}`)
	a.tells("BEGIN; DELETE FROM issues; ROLLBACK")
}

func TestWatch_Merge(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	if scalar[int](t, a.admin, "SELECT current_setting('server_version_num')::int") < 150000 {
		t.Skip("this server has no MERGE")
	}
	a.watch("issues", "'t', public => true, columns => '{id,title}'")
	exec(t, a.writer, "INSERT INTO issues VALUES (1, 'a'), (2, 'b'), (3, 'c')")
	a.told()
	a.tells(`MERGE INTO issues USING (VALUES (1, 'x'), (2, NULL), (3, 'c'), (4, 'd')) AS v (id, title) ON issues.id = v.id
		WHEN MATCHED AND v.title IS NULL THEN DELETE
		WHEN MATCHED THEN UPDATE SET title = v.title
		WHEN NOT MATCHED THEN INSERT (id, title) VALUES (v.id, v.title)`,
		`destroy 2 {"id":2,"title":"b"}`, `update 1 {"id":1,"title":"x"}`, `create 4 {"id":4,"title":"d"}`)
}

// A restore, and logical replication, write rows whose events were written where they come from.
func TestWatch_ReplicaRoleIsSilent(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'t', public => true")
	exec(t, a.admin, "SET session_replication_role = replica; INSERT INTO app.issues VALUES (1); DELETE FROM app.issues; TRUNCATE app.issues")
	a.expect("replica")
}

// The functions of a session are compiled once; the table goes on changing.
func TestWatch_ColumnsThatComeAndGo(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE t (gone int, id int PRIMARY KEY)", "ALTER TABLE t DROP COLUMN gone")
	a.watch("t", "'t', public => true")
	a.watch("t", "'e', public => true, payload => 'id', key => 'id + 1'")
	a.tells("INSERT INTO t VALUES (1)", `create 2 1`, `create 1 {"id":1}`)
	exec(t, a.owner, "ALTER TABLE t ADD COLUMN text text DEFAULT 'x'")
	a.tells("UPDATE t SET text = 'y'", `update 2 1`, `update 1 {"id":1,"text":"y"}`)
	exec(t, a.owner, "ALTER TABLE t DROP COLUMN text; ALTER TABLE t RENAME TO u")
	a.tells("UPDATE u SET id = 3", `destroy 2 1`, `create 4 3`, `destroy 1 {"id":1}`, `create 3 {"id":3}`)
	a.watch("u", "'t', public => true")
	a.expectWatched("no trace of the former name", "app.u e complete", "app.u t complete")
	if n := scalar[int](t, a.admin, "SELECT count(*)::int FROM pg_proc WHERE proname LIKE 'notifier%'"); n != 2 {
		t.Errorf("%d functions", n)
	}
	a.tells("DELETE FROM u", `destroy 4 3`, `destroy 3 {"id":3}`)
}

// A session in which an expression has failed goes on as a new one would when the table changes.
func TestWatch_ColumnsThatComeAndGoWhereExpressionsFail(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE t (id int PRIMARY KEY, gone int, v int)")
	a.watch("t", "'t', public => true, key => 'id + 0', payload => 'json_build_array(new, 6 / v)'")
	a.tells("INSERT INTO t VALUES (1, 1, 1), (2, 1, 0)", `create 1 [{"id":1,"gone":1,"v":1}, 6]`)
	a.expectDropped("at first", "create 2 22012 division by zero")
	exec(t, a.owner, "ALTER TABLE t DROP COLUMN gone")
	a.tells("INSERT INTO t VALUES (3, 2), (4, 0)", `create 3 [{"id":3,"v":2}, 3]`)
	a.expectDropped("a column fewer", "create 4 22012 division by zero")
	exec(t, a.owner, "ALTER TABLE t ADD COLUMN n text DEFAULT 'n'")
	a.tells("UPDATE t SET v = 1 - v WHERE id IN (3, 4)", `update 3 [{"id":3,"v":-1,"n":"n"}, -6]`, `update 4 [{"id":4,"v":1,"n":"n"}, 6]`)
	a.tells("UPDATE t SET v = v + 1 WHERE id > 2", `update 4 [{"id":4,"v":2,"n":"n"}, 3]`)
	a.expectDropped("a column more", "update 3 22012 division by zero")
	a.tells("DELETE FROM t WHERE id > 2", `destroy 4 [{"id":4,"v":2,"n":"n"}, 3]`)
	a.expectDropped("at last", "destroy 3 22012 division by zero")
}

// Names that stand in the way of those in the functions.
func TestWatch_NamesOfColumns(t *testing.T) {
	t.Parallel()
	a := newApplication(t, `CREATE TABLE t (key int PRIMARY KEY, old text, new text, r text, n text, now text, was text, e text, code text, m int,
		pair text, said text, place text, one text, told text, tg_op text, "%s%I$watch$''\" text)`)
	a.watch("t", `'t', public => true, payload => 'concat(key, old.key, old, new.old, r, n, code, pair, said, tg_op, "%s%I$watch$''''\")', original => true`)
	a.watch("t", `'u', public => true, columns => ARRAY['key', 'old', 'new', 'r', '%s%I$watch$''''\'], original => true, changes => '{old}'`)
	a.tells("INSERT INTO t (key, old, new, r, n, code, pair, said, tg_op) VALUES (1, 'o', 'w', 'r', 'n', 'c', 'p', 's', 't')",
		`create 1 "1oorncpst"`, `create 1 {"key":1,"old":"o","new":"w","r":"r","%s%I$watch$''\\":null}`)
	a.tells(`UPDATE t SET old = 'O', "%s%I$watch$''\" = '%'`,
		`update 1 "11OOrncpst%" was "11oorncpst"`,
		`update 1 {"key":1,"old":"O","new":"w","r":"r","%s%I$watch$''\\":"%"} was {"key":1,"old":"o","new":"w","r":"r","%s%I$watch$''\\":null}`)
	a.tells("DELETE FROM t", `destroy 1 "11OOrncpst%"`, `destroy 1 {"key":1,"old":"O","new":"w","r":"r","%s%I$watch$''\\":"%"}`)
	a.expectDropped("nothing is wrong")
}

// A row as a whole is what the table has, in each way that it comes to an expression: alone, among others, and tried
// again because another one's failed.
func TestWatch_WholeRowsInAnExpression(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE t (id int PRIMARY KEY, gone int, v int, twice int GENERATED ALWAYS AS (id * 2) STORED)",
		"ALTER TABLE t DROP COLUMN gone")
	a.watch("t", `'t', public => true, payload => 'json_build_array(new, old, 6 / v)', principal => 'to_json(new) ->> ''twice'''`)
	a.tells("INSERT INTO t VALUES (1, 1)", `create 1 by 2 [{"id":1,"v":1,"twice":2}, null, 6]`)
	a.tells("INSERT INTO t VALUES (2, 0), (3, 2)", `create 3 by 6 [{"id":3,"v":2,"twice":6}, null, 3]`)
	a.expectDropped("a new one", "create 2 22012 division by zero")
	a.tells("UPDATE t SET v = 3 WHERE id = 1", `update 1 by 2 [{"id":1,"v":3,"twice":2}, {"id":1,"v":1,"twice":2}, 2]`)
	a.tells("UPDATE t SET v = 6 WHERE id <> 2", `update 3 by 6 [{"id":3,"v":6,"twice":6}, {"id":3,"v":2,"twice":6}, 1]`,
		`update 1 by 2 [{"id":1,"v":6,"twice":2}, {"id":1,"v":3,"twice":2}, 1]`)
	a.tells("UPDATE t SET v = CASE id WHEN 1 THEN 0 ELSE 1 END", `update 2 by 4 [{"id":2,"v":1,"twice":4}, {"id":2,"v":0,"twice":4}, 6]`,
		`update 3 by 6 [{"id":3,"v":1,"twice":6}, {"id":3,"v":6,"twice":6}, 6]`)
	a.expectDropped("a changed one", "update 1 22012 division by zero")
	a.tells("UPDATE t SET id = 4 WHERE id = 3", `destroy 3 by 6 [{"id":3,"v":1,"twice":6}, {"id":3,"v":1,"twice":6}, 6]`,
		`create 4 by 8 [{"id":4,"v":1,"twice":8}, null, 6]`)
	a.tells("DELETE FROM t", `destroy 2 by 4 [{"id":2,"v":1,"twice":4}, {"id":2,"v":1,"twice":4}, 6]`,
		`destroy 4 by 8 [{"id":4,"v":1,"twice":8}, {"id":4,"v":1,"twice":8}, 6]`)
	a.expectDropped("one that is gone", "destroy 1 22012 division by zero")
}

// What a watch names must stay; Postgres does not know of it.
func TestWatch_NamedColumnThatGoes(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, "CREATE TABLE other (id int PRIMARY KEY, title text)")
	a.watch("issues", "'t', recipient => 'lower(owner)', columns => '{id}'")
	a.watch("other", "'o', public => true, columns => '{id,title}'")
	a.tells("INSERT INTO issues VALUES (1, 'a', 'd', 'ANN')", `create 1 >ann {"id":1}`)
	exec(t, a.owner, "ALTER TABLE issues RENAME owner TO person", "ALTER TABLE other DROP COLUMN title")
	a.tells("UPDATE issues SET title = 'b'")
	a.expectDropped("an expression", "update 1 42703 column \"owner\" does not exist")
	refused(t, a.writer, "42703", "INSERT INTO other VALUES (1)")
	a.watch("issues", "'t', recipient => 'lower(person)', columns => '{id}'")
	a.watch("other", "'o', public => true")
	a.tells("UPDATE issues SET title = 'c'; INSERT INTO other VALUES (1)", `update 1 >ann {"id":1}`, `create 1 {"id":1}`)
}

// Of a row, t.concat is concat(t) when there is no such column.
func TestWatch_NamedColumnThatGoesAndIsCalledAsAFunction(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE t (id int PRIMARY KEY, concat text, secret text)", "CREATE TABLE u (id int PRIMARY KEY, concat text, secret text)")
	a.watch("t", "'t', public => true, columns => '{id,concat}'")
	a.watch("u", "'u', public => true, columns => '{id}', key => 'concat'")
	a.tells("INSERT INTO t VALUES (1, 'a', 'secret'); INSERT INTO u VALUES (1, 'a', 'secret')", `create 1 {"id":1,"concat":"a"}`, `create a {"id":1}`)
	exec(t, a.owner, "ALTER TABLE t DROP COLUMN concat", "ALTER TABLE u DROP COLUMN concat")
	refused(t, a.writer, "42703", "INSERT INTO t VALUES (2, 'secret')")
	refused(t, a.writer, "42703", "INSERT INTO u VALUES (2, 'secret')")
}
