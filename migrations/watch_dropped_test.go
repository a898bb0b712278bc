package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Nobody becomes the reader of everything because a column is null.
func TestWatch_NobodyNamedIsDropped(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'t', dataset => 'dataset_id', recipient => 'owner', columns => '{id}', original => true")
	a.tells("INSERT INTO issues (id, dataset_id, owner) VALUES (1, 'd', NULL), (2, NULL, NULL), (3, NULL, 'ann')",
		`create 1 d  {"id":1}`, `create 3 >ann {"id":3}`)
	a.expectDropped("create", "create 2 neither a recipient nor a dataset")
	a.tells("UPDATE issues SET dataset_id = NULL WHERE id = 1", `destroy 1 d  {"id":1}`)
	a.expectDropped("update", "create 1 neither a recipient nor a dataset")
	a.tells("UPDATE issues SET title = 'x' WHERE id < 3")
	a.expectDropped("update", "update 1 neither a recipient nor a dataset", "update 2 neither a recipient nor a dataset")
	a.tells("DELETE FROM issues WHERE id < 3")
	a.expectDropped("destroy", "destroy 1 neither a recipient nor a dataset", "destroy 2 neither a recipient nor a dataset")
	a.tells("TRUNCATE issues")
	a.expectDropped("truncate", "truncate the table was truncated, and truncate is not among the actions")
	a.tells("BEGIN; INSERT INTO issues (id) VALUES (9); ROLLBACK")
	a.expectDropped("what was rolled back")
	a.tells("INSERT INTO issues (id) SELECT generate_series(100, 1099)")
	dropped := a.dropped()
	if len(dropped) != 21 || dropped[20] != "more of the same statement 980" {
		t.Errorf("%d rows, the last is %q", len(dropped), dropped[len(dropped)-1])
	}
	a.tells("BEGIN; SET LOCAL notifier.dropped = 'x'; INSERT INTO issues (id) VALUES (0); COMMIT")
	a.expectDropped("a writer's setting", "create 0 neither a recipient nor a dataset")
	a.tells("BEGIN; INSERT INTO issues (id) VALUES (1); INSERT INTO issues (id) VALUES (2); COMMIT")
	a.expectDropped("each statement counts by itself", "create 1 neither a recipient nor a dataset", "create 2 neither a recipient nor a dataset")
}

// One row's expression that fails does not take the others' events, and never the writer's commit.
func TestWatch_ExpressionsThatFail(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues,
		`CREATE FUNCTION checked(v text) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			IF v = 'fail' THEN RAISE 'it is %', v; ELSIF v = 'retry' THEN RAISE serialization_failure; END IF;
			RETURN v;
		END $$`)
	a.watch("issues", `'t', dataset => 'dataset_id', recipient => 'app.checked(owner)', original => true,
		payload => 'jsonb_build_object(''n'', 100 / title::int)'`)
	a.tells("INSERT INTO issues (id, title, dataset_id) VALUES (1, '10', 'd'), (2, '0', 'd'), (3, '20', 'd'), (4, 'x', 'd')",
		`create 1 d  {"n": 10}`, `create 3 d  {"n": 5}`)
	a.expectDropped("create", "create 2 22012 division by zero", `create 4 22P02 invalid input syntax for type integer: "x"`)
	a.tells("UPDATE issues SET title = CASE id WHEN 3 THEN '50' ELSE title END, owner = CASE id WHEN 1 THEN 'fail' WHEN 3 THEN 'ann' END",
		`destroy 3 d  {"n": 5}`, `create 3 d  >ann {"n": 2}`)
	a.expectDropped("update", "update 1 P0001 it is fail")
	a.tells("UPDATE issues SET owner = CASE id WHEN 4 THEN NULL ELSE 'ann' END, title = '25'", // what was cannot be told of the others
		`update 3 d  >ann {"n": 4} was {"n": 2}`)
	a.expectDropped("update", "update 1 P0001 it is fail", "update 2 22012 division by zero", `update 4 22P02 invalid input syntax for type integer: "x"`)
	exec(t, a.writer, "UPDATE issues SET owner = 'fail' WHERE id = 2")
	a.told()
	a.dropped()
	a.tells("DELETE FROM issues WHERE id IN (2, 3)", `destroy 3 d  >ann {"n": 4}`)
	a.expectDropped("destroy", "destroy 2 P0001 it is fail")
	exec(t, a.writer, "INSERT INTO issues (id, title, dataset_id) SELECT i, i % 500, 'd' FROM generate_series(1000, 2999) AS i")
	if n := len(a.told()); n != 2000-4 {
		t.Errorf("%d events of 2000 rows, four of which fail", n)
	}
	if n := len(a.dropped()); n != 4 {
		t.Errorf("%d were dropped", n)
	}
	refused(t, a.writer, "40001", "INSERT INTO issues VALUES (9, '1', 'd', 'retry')") // the writer is to try again
	exec(t, a.writer, "SET default_transaction_isolation = 'serializable'")
	a.tells("INSERT INTO issues VALUES (9, '1', 'd', 'ann')", `create 9 d  >ann {"n": 100}`)
}

// What fails here and there in many rows is found in parts of them: all else is told, and each is noted once, in order.
func TestWatch_ExpressionsThatFailHereAndThere(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", `'t', dataset => 'dataset_id', payload => '100 / title::int'`)
	noted := func(what, action string) {
		t.Helper()
		got := scalar[string](t, a.admin, "WITH d AS (DELETE FROM notifier.dropped RETURNING *) SELECT string_agg(concat_ws(' ', action, key, code), ', ' ORDER BY id) FROM d")
		want := strings.ReplaceAll("? 1 22012, ? 256 22012, ? 257 22012, ? 300, ? 511 22012, ? 600 22012", "?", action)
		if got != want {
			t.Errorf("%s: noted %s, want %s", what, got, want)
		}
	}
	told := func(what, action string) {
		t.Helper()
		events := a.told()
		if len(events) != 594 || events[0] != action+" 2 d  100" || events[254] != action+" 258 d  100" || events[593] != action+" 599 d  100" {
			t.Errorf("%s: %d events", what, len(events))
		}
	}
	exec(t, a.writer, `INSERT INTO issues (id, title, dataset_id)
		SELECT i, CASE WHEN i IN (1, 256, 257, 511, 600) THEN '0' ELSE '1' END, CASE WHEN i <> 300 THEN 'd' END
		FROM generate_series(1, 600) AS i`)
	noted("INSERT", "create")
	told("INSERT", "create")
	exec(t, a.writer, "UPDATE issues SET secret = CASE WHEN id <> 400 THEN 's' END") // all but one, which is no part of it
	if got := len(a.told()); got != 593 {
		t.Errorf("UPDATE: %d events", got)
	}
	noted("UPDATE", "update")
	exec(t, a.writer, "DELETE FROM issues")
	noted("DELETE", "destroy")
	told("DELETE", "destroy")
}

// Rows are tried again so few at a time that all together may be larger than an array can be, or than there is memory.
func TestWatch_OneOfVeryLargeRowsFails(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, `CREATE FUNCTION memory(id int) RETURNS bigint LANGUAGE plpgsql AS $$
		BEGIN
			RETURN (SELECT sum(used_bytes) / (100 * id) FROM pg_backend_memory_contexts);
		END $$`)
	exec(t, a.admin, "GRANT SELECT ON pg_backend_memory_contexts TO PUBLIC", "GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts() TO PUBLIC")
	a.watch("issues", `'t', dataset => 'dataset_id', payload => 'app.memory(id) * id / 10000'`) // in megabytes
	exec(t, a.writer, `INSERT INTO issues (id, title, dataset_id)
		SELECT i, large, 'd' FROM (SELECT repeat('x', 300000) AS large) AS one, generate_series(0, 200) AS i`)
	if n, used := scalar[int](t, a.admin, "SELECT count(*)::int FROM notifier.events"),
		scalar[int](t, a.admin, "SELECT max(payload::text::int) FROM notifier.events"); n != 200 || used > 180 {
		t.Errorf("%d events of 201 rows of 300 kB, one of which fails, with %d MB", n, used)
	}
	a.expectDropped("create", "create 0 22012 division by zero")
}

// What is wrong with all rows of a large statement costs time in proportion, and few rows.
func TestWatch_AllExpressionsFail(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'t', dataset => 'dataset_id', payload => '1 / (id - id)', key => 'title::int'")
	a.tells("INSERT INTO issues (id, title, dataset_id) SELECT i, i, 'd' FROM generate_series(1, 3000) AS i")
	dropped := a.dropped()
	if len(dropped) != 21 || dropped[0] != "create 1 22012 division by zero" || dropped[20] != "more of the same statement 2980" {
		t.Errorf("%d rows: %q", len(dropped), dropped)
	}
	a.tells("UPDATE issues SET title = 'x' WHERE id = 1") // not even its key
	a.expectDropped("update", `update 22P02 invalid input syntax for type integer: "x"`)
}

func TestWatch_CancelledIsCancelled(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'t', public => true, payload => 'pg_sleep(owner::int)'")
	exec(t, a.writer, "SET statement_timeout = '100ms'")
	refused(t, a.writer, "57014", "INSERT INTO issues (id, owner) VALUES (1, '60')")
	a.expectDropped("a statement that was cancelled")
}

func TestDropped_WhoMayDoWhat(t *testing.T) {
	t.Parallel()
	a := newApplication(t)
	publisher, server := become(t, a.url, "notifier_publisher"), become(t, a.url, "notifier_server")
	for _, conn := range []*pgx.Conn{publisher, server, a.owner} {
		refused(t, conn, insufficientPrivilege, "INSERT INTO notifier.dropped (watched) VALUES ('t')")
		refused(t, conn, insufficientPrivilege, "UPDATE notifier.dropped SET count = 0")
		refused(t, conn, insufficientPrivilege, "TRUNCATE notifier.dropped")
	}
	for _, conn := range []*pgx.Conn{publisher, a.owner} {
		refused(t, conn, insufficientPrivilege, "SELECT FROM notifier.dropped")
		refused(t, conn, insufficientPrivilege, "DELETE FROM notifier.dropped")
	}
	refused(t, a.writer, insufficientPrivilege, "SELECT notifier.drop_row('t', 't', 'a', 'k', 'c', 'm')")
	refused(t, server, insufficientPrivilege, "SELECT notifier.drop_row('t', 't', 'a', 'k', 'c', 'm')")
	exec(t, server, "SELECT FROM notifier.dropped", "DELETE FROM notifier.dropped")
	long := strings.Repeat("x", 100000)
	if _, err := publisher.Exec(t.Context(), "SELECT notifier.drop_row($1, $1, $1, $1, $1, $1)", long); err != nil {
		t.Fatal(err)
	}
	if n := scalar[int](t, a.admin, "SELECT max(octet_length(d::text)) FROM notifier.dropped AS d"); n > 1300 {
		t.Errorf("a row of %d bytes", n)
	}
	if who := scalar[string](t, a.admin, "SELECT who FROM notifier.dropped"); who != "notifier_publisher" {
		t.Errorf("noted by %s", who)
	}
}
