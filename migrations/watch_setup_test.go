package migrations_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

// application is a database with an application in it. Owner owns the schema app and what is in it, and may publish;
// writer may write to its tables and nothing else; admin is a superuser.
type application struct {
	t                    *testing.T
	url                  string
	admin, owner, writer *pgx.Conn
	ownerName            string
	last                 int64 // the newest event that told has returned
}

func newApplication(t *testing.T, statements ...string) *application {
	t.Helper()
	a := &application{t: t, url: dbtest.New(t)}
	a.admin = dbtest.Connect(t, a.url)
	a.ownerName = newRole(t, a.admin, "owner")
	writer := newRole(t, a.admin, "writer")
	exec(t, a.admin,
		"GRANT notifier_publisher TO "+a.ownerName,
		"CREATE SCHEMA app AUTHORIZATION "+a.ownerName,
		"GRANT USAGE ON SCHEMA app TO "+writer,
		"ALTER DEFAULT PRIVILEGES FOR ROLE "+a.ownerName+" GRANT ALL ON TABLES TO "+writer)
	a.owner, a.writer = become(t, a.url, a.ownerName), become(t, a.url, writer)
	exec(t, a.owner, "SET search_path = app")
	exec(t, a.writer, "SET search_path = app")
	exec(t, a.owner, statements...)
	return a
}

// watch has the owner watch a table; args are those behind the table.
func (a *application) watch(table, args string) {
	a.t.Helper()
	exec(a.t, a.owner, "SELECT notifier.watch_table('"+table+"', "+args+")")
}

// told returns the events since the last call: "action key dataset>recipient by principal payload was original",
// without what is null.
func (a *application) told() []string {
	a.t.Helper()
	rows, _ := a.admin.Query(a.t.Context(), `
		SELECT id, concat_ws(' ', action, NULLIF(key, ''), NULLIF(dataset_id || ' ', ' '), '>' || recipient,
			'by ' || principal, payload, 'was ' || original)
		FROM notifier.events
		WHERE id > $1
		ORDER BY id`, a.last)
	list := []string{}
	var line string
	_, err := pgx.ForEachRow(rows, []any{&a.last, &line}, func() error {
		list = append(list, line)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return list
}

// tells has the writer do something and demands the events that come of it.
func (a *application) tells(statement string, want ...string) {
	a.t.Helper()
	exec(a.t, a.writer, statement)
	a.expect(statement, want...)
}

func (a *application) expect(what string, want ...string) {
	a.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), a.told()); diff != "" {
		a.t.Errorf("%s: events (-want +got):\n%s", what, diff)
	}
}

// dropped returns what became no event since the last call: "action key code message", and how many if more than one.
func (a *application) dropped() []string {
	a.t.Helper()
	rows, _ := a.admin.Query(a.t.Context(), `
		WITH gone AS (DELETE FROM notifier.dropped RETURNING *)
		SELECT concat_ws(' ', action, key, code, message, NULLIF(count, 1))
		FROM gone
		ORDER BY count, 1`)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		a.t.Fatal(err)
	}
	return list
}

func (a *application) expectDropped(what string, want ...string) {
	a.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), append([]string{}, a.dropped()...)); diff != "" {
		a.t.Errorf("%s: dropped (-want +got):\n%s", what, diff)
	}
}

// watched shows the view, one watch a line.
func (a *application) watched() []string {
	a.t.Helper()
	rows, _ := a.admin.Query(a.t.Context(), `
		SELECT concat_ws(' ', watched, event_type, CASE WHEN complete THEN 'complete' ELSE 'without' END, NULLIF(missing, '{}'))
		FROM notifier.watched
		ORDER BY 1`)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		a.t.Fatal(err)
	}
	return append([]string{}, list...)
}

func (a *application) expectWatched(what string, want ...string) {
	a.t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), a.watched()); diff != "" {
		a.t.Errorf("%s: watched (-want +got):\n%s", what, diff)
	}
}

const issues = `
	CREATE TABLE issues (
		id int PRIMARY KEY,
		title text,
		dataset_id text,
		owner text,
		secret text,
		twice int GENERATED ALWAYS AS (id * 2) STORED,
		seen json
	)`
