package demo_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/db/demo"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func install(t *testing.T, url string) {
	t.Helper()
	if err := demo.Install(t.Context(), url); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// ask returns the rows of one text each.
func ask(t *testing.T, conn *pgx.Conn, sql string) []string {
	t.Helper()
	rows, _ := conn.Query(t.Context(), sql)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// expect compares lists; an empty one is as good as none.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, append([]string(nil), got...)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const newEvents = `
	WITH gone AS (DELETE FROM notifier.events RETURNING *)
	SELECT concat_ws(' ', type, action, key, 'to ' || recipient, 'in ' || dataset_id)
	FROM gone
	WHERE control IS NULL
	ORDER BY id`

// TestInstall_WatchesEveryKind: what the application does becomes events of the
// five types, each for whom it is.
func TestInstall_WatchesEveryKind(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	install(t, url)
	expect(t, "of the first rows", ask(t, conn, newEvents),
		"datasetUpdate create tides in tides", "datasetUpdate create winds in winds", "datasetUpdate create waves in waves",
		"issueUpdate create 1 in tides", "issueUpdate create 2 in winds", "issueUpdate create 3 in waves",
		"notification create 1 to ann", "notification create 3 to ben",
		"downloadFile create 1 in tides", "uploadFile create tides in tides")
	for _, step := range []struct {
		sql  string
		want []string
	}{
		{`UPDATE demo.issues SET status = 'doing' WHERE id = 1`, []string{"issueUpdate update 1 in tides", "notification update 1 to ann"}},
		{`UPDATE demo.issues SET assignee = 'ann' WHERE id = 2`, []string{"issueUpdate update 2 in winds", "notification create 2 to ann"}},
		{`UPDATE demo.datasets SET status = 'draft' WHERE id = 'waves'`, []string{"datasetUpdate update waves in waves"}},
		{`INSERT INTO demo.uploads (dataset_id, file, bytes) VALUES ('winds', 'f', 10)`, []string{"uploadFile create winds in winds"}},
		{`UPDATE demo.uploads SET received = bytes WHERE file = 'f'`, []string{"downloadFile create 2 in winds", "uploadFile update winds in winds"}},
		{`UPDATE demo.issues SET status = status`, nil},
	} {
		exec(t, conn, step.sql)
		expect(t, step.sql, ask(t, conn, newEvents), step.want...)
	}
	expect(t, "dropped", ask(t, conn, `SELECT d::text FROM notifier.dropped AS d`))
}

// TestInstall_AsksMembersAndTellsOfChanges: the policy is the application's, and a change of it
// is told.
func TestInstall_AsksMembersAndTellsOfChanges(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	install(t, url)
	exec(t, conn, `INSERT INTO notifier.dataset_permissions (user_id, dataset_id) VALUES ('dave', 'waves'); DELETE FROM notifier.events; SET ROLE notifier_server`)
	const may = `
		SELECT format('%s %s', u, d)
		FROM unnest('{ann,ben,dave}'::text[]) AS u, unnest('{tides,waves}'::text[]) AS d
		WHERE notifier.may_read(u, 'issueUpdate', d)
		ORDER BY 1`
	expect(t, "at first", ask(t, conn, may), "ann tides", "ben waves", "dave waves")
	expect(t, "datasets of objects", ask(t, conn, `
		SELECT coalesce(notifier.dataset_of(type, key), 'none')
		FROM (VALUES ('issueUpdate', '3'), ('issueUpdate', 'x'), ('downloadFile', '1'), ('uploadFile', 'winds'), ('datasetUpdate', 'winds'), ('notification', '1'))
			AS o (type, key)`), "waves", "none", "tides", "winds", "winds", "none")
	for sql, want := range map[string]string{
		`INSERT INTO demo.members (project_id, user_id) VALUES ('north', 'ben')`: "ben, any",
		`UPDATE demo.datasets SET project_id = 'south' WHERE id = 'winds'`:       "any, winds",
		`DELETE FROM demo.members WHERE user_id = 'ann'`:                         "ann, any",
	} {
		exec(t, conn, `RESET ROLE; DELETE FROM notifier.events`)
		exec(t, conn, sql)
		expect(t, sql, ask(t, conn, `
			SELECT coalesce(recipient, 'any') || ', ' || coalesce(dataset_id, 'any')
			FROM notifier.events
			WHERE control IS NOT NULL`), want)
	}
	exec(t, conn, `SET ROLE notifier_server`)
	expect(t, "at last", ask(t, conn, may), "ben tides", "ben waves", "dave waves")
}

// TestInstall_AgainKeepsWhatThereIs: rows and policy are the database's own from
// the first time on, and an older demo makes way.
func TestInstall_AgainKeepsWhatThereIs(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `
		CREATE SCHEMA demo;
		CREATE TABLE demo.notes (id bigint, owner text, text text);
		CREATE FUNCTION demo.tell_owner() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER tell_owner AFTER INSERT ON demo.notes FOR EACH ROW EXECUTE FUNCTION demo.tell_owner()`)
	install(t, url)
	exec(t, conn, `
		DELETE FROM demo.members WHERE user_id = 'ann';
		DELETE FROM demo.issues WHERE id = 1;
		SELECT notifier.unwatch_table('demo.datasets');
		CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
		LANGUAGE sql STABLE AS 'SELECT may_read.user_id = ''erin''';
		DELETE FROM notifier.events`)
	install(t, url)
	install(t, url)
	expect(t, "members", ask(t, conn, `SELECT user_id FROM demo.members`), "ben")
	expect(t, "issues", ask(t, conn, `SELECT id::text FROM demo.issues ORDER BY id`), "2", "3")
	expect(t, "policy", ask(t, conn, `SELECT notifier.may_read(u, 't', 'tides')::text FROM unnest('{erin,ben}'::text[]) AS u`), "true", "false")
	expect(t, "events", ask(t, conn, newEvents))
	expect(t, "watched", ask(t, conn, `SELECT watched::text || ' ' || event_type FROM notifier.watched WHERE complete ORDER BY 1`),
		"demo.datasets datasetUpdate", "demo.issues issueUpdate", "demo.issues notification", "demo.uploads downloadFile", "demo.uploads uploadFile")
}

// TestInstall_LeavesAPolicyThatWasReplacedBefore: whoever has pointed the
// policy at tables of their own goes on with it.
func TestInstall_LeavesAPolicyThatWasReplacedBefore(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `
		CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
		LANGUAGE sql STABLE AS 'SELECT true'`)
	install(t, url)
	expect(t, "policy", ask(t, conn, `SELECT notifier.may_read('erin', 't', 'tides')::text`), "true")
	expect(t, "issues", ask(t, conn, `SELECT count(*)::text FROM demo.issues`), "3")
}

// TestActivity_KeepsWithinBounds lets far more happen than is kept, cuts its
// connection off, and sees every type of event.
func TestActivity_KeepsWithinBounds(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	install(t, url)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { // ends with ctx
		activity := demo.Activity{URL: url, Every: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
		if err := activity.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	opened := func(more string) func() bool {
		return func() bool {
			return ask(t, conn, `SELECT (max(id) > `+more+`)::text FROM demo.issues`)[0] == "true"
		}
	}
	dbtest.Eventually(t, "something happens", opened("5"))
	exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	dbtest.Eventually(t, "enough happens", opened("120"))
	expect(t, "rows", ask(t, conn, `
		SELECT t
		FROM (VALUES ('issues', (SELECT count(*) FROM demo.issues), 53), ('uploads', (SELECT count(*) FROM demo.uploads), 21),
			('datasets', (SELECT count(*) FROM demo.datasets), 3)) AS n (t, got, most)
		WHERE got > most`))
	expect(t, "kinds", ask(t, conn, `SELECT DISTINCT type FROM notifier.events WHERE id > 20 AND control IS NULL ORDER BY 1`),
		"datasetUpdate", "downloadFile", "issueUpdate", "notification", "uploadFile")
	expect(t, "dropped", ask(t, conn, `SELECT d::text FROM notifier.dropped AS d`))
}

// The user of dev's database is called as the schema of the log.
func TestInstall_TablesOfOnesOwnAreInPublic(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	if err := demo.Install(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	conn := dbtest.Connect(t, url)
	var where string
	err := conn.QueryRow(t.Context(), `SELECT current_schema()`).Scan(&where)
	if err != nil || where != "public" {
		t.Errorf("a table would be in %q, %v", where, err)
	}
}
