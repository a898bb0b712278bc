package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// watchesIn returns all that watches leave in the catalogs.
func watchesIn(t *testing.T, conn *pgx.Conn) (all string) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `
		SELECT concat(
			(SELECT string_agg(concat_ws(E'\n', pg_get_functiondef(oid), proowner, proacl, obj_description(oid, 'pg_proc')), E'\n' ORDER BY proname)
			FROM pg_proc
			WHERE proname LIKE 'notifier\_%'),
			(SELECT string_agg(pg_get_triggerdef(oid), E'\n' ORDER BY tgrelid, tgname)
			FROM pg_trigger
			WHERE tgname LIKE 'notifier\_%'))`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// gooseOf makes goose's provider of one migration, in the schema app.
func gooseOf(t *testing.T, database, migration string) *goose.Provider {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "00042_watch.sql"), []byte(migration), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	pool := stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = pool.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, os.DirFS(folder), goose.WithTableName("app.versions"))
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

func TestTrigger_PrintsWhatWatchTableDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		call string
	}{
		"columns": {
			[]string{"issueUpdate", "--table", "app.issues", "--dataset", "dataset_id", "--without", "secret", "--original", "--changes=title, dataset_id"},
			"'app.issues', 'issueUpdate', dataset => 'dataset_id', without => '{secret}', original => true, changes => '{title,dataset_id}'",
		},
		"expressions": {
			[]string{
				"it's", "--table", "app.issues", "--recipient", "upper(title) -- a comment", "--payload", "jsonb_build_object('%s $watch$', title)", "--condition",
				"title <> 'a\n\n--b\n;'", "--key", "id,title", "--principal", "session_user", "--actions", "create,truncate",
			},
			`'app.issues', 'it''s', recipient => 'upper(title) -- a comment', payload => 'jsonb_build_object(''%s $watch$'', title)', condition => E'title <> ''a\n\n--b\n;''',
				key => 'id,title', principal => 'session_user', actions => '{create,truncate}'`,
		},
		"partitions": {[]string{"p", "--table=app.parts", "--public", "--columns=id"}, "'app.parts', 'p', public => true, columns => '{id}'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := dbtest.New(t)
			conn := dbtest.Connect(t, database)
			execute(t, conn, `CREATE SCHEMA app; CREATE TABLE app.issues (id int PRIMARY KEY, title text, dataset_id text, secret text);
				CREATE TABLE app.parts (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE app.part PARTITION OF app.parts DEFAULT`)
			code, migration, err := run(t, []string{"NOTIFIER_DATABASE_URL=" + database}, append([]string{"trigger"}, c.args...)...)
			if code != 0 {
				t.Fatalf("code %d: %s", code, err)
			}
			before := watchesIn(t, conn)
			execute(t, conn, "SELECT notifier.watch_table("+c.call+")")
			want := watchesIn(t, conn)
			execute(t, conn, "SELECT notifier.unwatch_table('app.issues'); SELECT notifier.unwatch_table('app.parts')")
			provider := gooseOf(t, database, migration)
			if _, err := provider.Up(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, migration)
			}
			if diff := cmp.Diff(want, watchesIn(t, conn)); diff != "" {
				t.Errorf("up (-watch_table +migration):\n%s", diff)
			}
			if _, err := provider.Down(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, migration)
			}
			if diff := cmp.Diff(before, watchesIn(t, conn)); diff != "" {
				t.Errorf("down:\n%s", diff)
			}
		})
	}
}

func execute(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestTrigger_Problems(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	execute(t, dbtest.Connect(t, database), "CREATE SCHEMA app; CREATE TABLE app.issues (id int PRIMARY KEY)")
	old := dbtest.Empty(t)
	execute(t, dbtest.Connect(t, old), "CREATE SCHEMA app; CREATE TABLE app.issues (id int PRIMARY KEY)")
	for _, c := range []struct {
		database string
		args     []string
		want     string
	}{
		{database, []string{"t"}, "--table: must not be empty"},
		{"", []string{"t", "--table=app.issues"}, "--database-url (NOTIFIER_DATABASE_URL): is needed"},
		{database, []string{"t", "--table=app.nothing", "--public"}, `relation "app.nothing" does not exist`},
		{database, []string{"t", "--table=app.issues"}, "neither dataset nor recipient says whom the events are for (public => true lets every known user see them.)"},
		{database, []string{"t", "--table=app.issues", "--dataset=nothing()"}, "dataset is neither a column of app.issues nor an SQL expression over its columns: function nothing() does not exist"},
		{database, []string{"t", "--table=app.issues", "--public", "--payload=id\n-- +goose Down\n"}, "a line that goose would take"},
		{old, []string{"t", "--table=app.issues", "--public"}, "run 'notifier migrate up'"},
	} {
		code, out, err := run(t, []string{"NOTIFIER_DATABASE_URL=" + c.database}, append([]string{"trigger"}, c.args...)...)
		if code != exitFailed || out != "" || !strings.Contains(err, c.want) {
			t.Errorf("%q: code %d, %s%s, want %s", c.args, code, out, err, c.want)
		}
	}
}
