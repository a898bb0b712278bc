package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// An expression is one expression, whatever it is made to look like.
func TestWatchHostile_Expressions(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, "CREATE TABLE victim (id int)")
	for _, text := range []string{
		"1); DROP TABLE app.victim; SELECT (1",
		"1) END; DROP TABLE app.victim; SELECT CASE WHEN true THEN (1",
		"1) END), (SELECT (1",
		"1)); DROP TABLE app.victim; --",
		"1 /*",
		"1); DROP TABLE app.victim; --",
		"1\n); DROP TABLE app.victim; SELECT (1",
		"1) FROM app.victim; END; $watch$; DROP TABLE app.victim; --",
		"$watch$",
		"(1",
		"1)",
		"",
		"1) ELSE (2",
		"1) WHEN false THEN (2",
		"1) AS x, (2",
		"1) UNION ALL SELECT (2",
	} {
		for _, argument := range []string{"key", "dataset", "recipient", "condition", "principal", "payload"} {
			_, err := a.owner.Exec(t.Context(), "SELECT notifier.watch_table('issues', 't', public => true, "+argument+" => $1)", text)
			if err == nil {
				t.Errorf("%s => %q is taken", argument, text)
			}
		}
	}
	a.expectWatched("nothing")
	exec(t, a.owner, "SELECT FROM victim")
}

// Names are names, whatever is in them.
func TestWatchHostile_Names(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE app.victim (id int)")
	for _, name := range []string{
		`Quoted "name"`, `it's; DROP TABLE app.victim; --`, `%s %I %L %1$s %%`, `$watch$ $$ $1 $watch1$`, "two\nlines\n-- +goose Down\n", `back\slash \' E'\n'`,
		strings.Repeat("ä", 31), strings.Repeat("long", 15), `notifier_new`, `select`, `{"a":1}`, "\x01\t",
	} {
		schema, table := pgx.Identifier{name}.Sanitize(), pgx.Identifier{name, name}.Sanitize()
		exec(t, a.admin, "CREATE SCHEMA "+schema+" AUTHORIZATION "+a.ownerName, "GRANT USAGE ON SCHEMA "+schema+" TO PUBLIC")
		exec(t, a.owner, "CREATE TABLE "+table+" (id int PRIMARY KEY, "+schema+" text)")
		for range 2 {
			if _, err := a.owner.Exec(t.Context(), `SELECT notifier.watch_table(
				$1::text::regclass, $2::text, dataset => $2::text, columns => ARRAY[$2::text], changes => ARRAY[$2::text], original => true)`,
				table, name); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if _, err := a.owner.Exec(t.Context(), `SELECT notifier.watch_table($1::text::regclass, $2::text, public => true, payload => $3::text, recipient => $4::text)`,
			table, name+name+name, "jsonb_build_object("+quoted(name)+", "+schema+")", schema+" || 'x'"); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if n := scalar[int](t, a.owner, "SELECT count(*)::int FROM notifier.watched WHERE complete AND event_type IN ($1::text, $1::text || $1 || $1)", name); n != 2 {
			t.Fatalf("%q: %d watches", name, n)
		}
		exec(t, a.owner, "INSERT INTO "+table+" VALUES (1, 'd')", "UPDATE "+table+" SET "+schema+" = 'e'", "TRUNCATE "+table)
		got := scalar[string](t, a.admin, "SELECT string_agg(action || coalesce(dataset_id, recipient, ''), ' ' ORDER BY length(type), id) FROM notifier.events WHERE type LIKE $1 || '%'",
			strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(name))
		if want := "created destroyd createe createdx destroydx createex truncate"; got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
		exec(t, a.owner, "SELECT notifier.unwatch_table("+quoted(table)+")", "TRUNCATE "+table)
		a.expectWatched(name)
	}
	exec(t, a.owner, "SELECT FROM app.victim")
}

// quoted makes an SQL literal of a text.
func quoted(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func TestWatchHostile_TablesOfOthers(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	stranger := newRole(t, a.admin, "stranger")
	exec(t, a.admin, "GRANT notifier_publisher TO "+stranger, "GRANT USAGE, CREATE ON SCHEMA app TO "+stranger, "GRANT ALL ON app.issues TO "+stranger)
	conn := become(t, a.url, stranger)
	const watch = "SELECT notifier.watch_table('app.issues', 't', public => true)"
	refused(t, conn, insufficientPrivilege, watch)
	refused(t, conn, insufficientPrivilege, strings.Replace(watch, "table", "sql", 1))
	refused(t, a.writer, insufficientPrivilege, watch)

	// Who has taken the name of the function does not get it to be anything.
	const name = "app.notifier_issues_t_"
	squatted := scalar[string](t, a.owner, "SELECT notifier.watch_function('issues', 't')")
	if !strings.HasPrefix(squatted, name) {
		t.Fatalf("the function is called %s", squatted)
	}
	exec(t, conn, "CREATE FUNCTION "+squatted+"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'", "GRANT EXECUTE ON FUNCTION "+squatted+"() TO "+stranger)
	refused(t, a.owner, "42723", watch)
	refused(t, a.admin, "42723", watch)
	exec(t, conn, "DROP FUNCTION "+squatted+"()")

	// Nor can anybody make events by the function with a table of his own.
	exec(t, a.owner, watch)
	exec(t, conn, "CREATE TABLE app.forged (LIKE app.issues)")
	refused(t, conn, insufficientPrivilege, `CREATE TRIGGER forge AFTER INSERT ON app.forged REFERENCING NEW TABLE AS notifier_new
		FOR EACH STATEMENT EXECUTE FUNCTION `+squatted+"()")
	exec(t, conn, "SELECT notifier.unwatch_table('app.forged')")
	refused(t, conn, insufficientPrivilege, "SELECT notifier.unwatch_table('app.issues')")
	a.expectWatched("after all that", "app.issues t complete")

	// A member of the owner may; what it makes is the owner's.
	exec(t, a.admin, "GRANT "+a.ownerName+" TO "+stranger)
	exec(t, conn, "SELECT notifier.watch_table('app.issues', 'u', public => true)")
	if !scalar[bool](t, a.admin, "SELECT bool_and(pg_get_userbyid(proowner) = $1) FROM pg_proc WHERE proname LIKE 'notifier%'", strings.Trim(a.ownerName, `"`)) {
		t.Error("a function is not the owner's")
	}
	if role := scalar[string](t, conn, "SELECT current_setting('role')"); role != "none" {
		t.Errorf("goes on as %s", role)
	}
}

// Whoever writes, and whoever has the table watched: expressions have their owner's rights.
func TestWatchHostile_ExpressionsHaveNoOtherRights(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues,
		`CREATE FUNCTION spy() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
		BEGIN
			IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE 'a superuser'; END IF;
			RETURN current_user;
		END $$`)
	refused(t, a.admin, "P0001", "SELECT app.spy()")
	exec(t, a.admin, "SELECT notifier.watch_table('app.issues', 't', public => true, columns => '{id}', principal => 'app.spy()')")
	owner := strings.Trim(a.ownerName, `"`)
	a.tells("INSERT INTO issues VALUES (1)", "create 1 by "+owner+` {"id":1}`)
	exec(t, a.admin, "INSERT INTO app.issues VALUES (2)")
	a.expect("written by a superuser", "create 2 by "+owner+` {"id":2}`)
	if who := scalar[string](t, a.admin, "SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname LIKE 'notifier%'"); who != owner {
		t.Errorf("the function is %s's", who)
	}
	exec(t, a.admin, "SET ROLE "+a.ownerName, "SELECT notifier.watch_table('app.issues', 't', public => true)")
	if role := scalar[string](t, a.admin, "SELECT current_setting('role')"); role != owner {
		t.Errorf("goes on as %s", role)
	}
	exec(t, a.admin, "RESET ROLE")
}
