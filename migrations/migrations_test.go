package migrations_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
)

func up(t *testing.T, databaseURL string) {
	t.Helper()
	if err := migrations.Up(t.Context(), databaseURL, discard); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, databaseURL string) []migrations.Migration {
	t.Helper()
	list, err := migrations.Status(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func hasSchema(t *testing.T, databaseURL string) bool {
	t.Helper()
	return scalar[bool](t, dbtest.Connect(t, databaseURL), "SELECT to_regnamespace('notifier') IS NOT NULL")
}

func TestUpDown_LeaveNothingBehind(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	for range 2 {
		up(t, url)
		if !hasSchema(t, url) {
			t.Fatal("no schema after Up")
		}
		if err := migrations.DownTo(t.Context(), url, 0, discard); err != nil {
			t.Fatal(err)
		}
		if hasSchema(t, url) {
			t.Fatal("schema notifier is still there after DownTo(0)")
		}
	}
}

func TestDown_TakesOneStepBack(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	for step := range status(t, url) {
		if err := migrations.Down(t.Context(), url, discard); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		applied := 0
		for _, m := range status(t, url) {
			if m.Applied() {
				applied++
			}
		}
		if want := len(status(t, url)) - step - 1; applied != want {
			t.Errorf("after %d steps down %d migrations are applied, want %d", step+1, applied, want)
		}
	}
	if err := migrations.Down(t.Context(), url, discard); err != nil {
		t.Errorf("down with nothing applied: %v", err)
	}
	if hasSchema(t, url) {
		t.Error("schema notifier is still there after the last step")
	}
}

func TestDown_LeavesASchemaThatHoldsOthersThings(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	exec(t, dbtest.Connect(t, url), "CREATE TABLE notifier.theirs (n int)")
	if err := migrations.DownTo(t.Context(), url, 0, discard); err != nil {
		t.Fatal(err)
	}
	if !hasSchema(t, url) {
		t.Error("a schema with an application's table is gone")
	}
	up(t, url)
}

func TestUp_TenInstancesAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	var log bytes.Buffer // a slog handler writes under a lock of its own
	logger := slog.New(slog.NewTextHandler(&log, nil))
	var g errgroup.Group
	for range 10 {
		g.Go(func() error { return migrations.Up(t.Context(), url, logger) }) // ends when the schema is up
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n, want := strings.Count(log.String(), "migration done"), len(status(t, url)); n != want {
		t.Errorf("%d migrations were applied by all instances together, want %d", n, want)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	for _, m := range status(t, url) {
		if m.Applied() {
			t.Errorf("%v counts as applied in an empty database", m)
		}
	}
	if hasSchema(t, url) {
		t.Error("asking for the status made a schema")
	}
	before := time.Now()
	up(t, url)
	list := status(t, url)
	for _, m := range list {
		if !m.Applied() || m.AppliedAt.Before(before.Add(-time.Minute)) || m.AppliedAt.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s was applied at %v, want about now", m.Name, m.AppliedAt)
		}
	}
	if last := list[len(list)-1]; last.Version != migrations.Required() {
		t.Errorf("required is %d, the newest is %d", migrations.Required(), last.Version)
	}
	if list[0].Name != "00001_events" {
		t.Errorf("the first migration is called %q", list[0].Name)
	}
}

// A database that was in use before histories were kept: what it has was written there, and what retention has
// removed, it has removed.
func TestUp_HistoryOfADatabaseInUse(t *testing.T) {
	t.Parallel()
	for name, positions := range map[string]string{
		"retention has begun":     "INSERT INTO notifier.positions (position) VALUES ('700:700:')",
		"retention has not begun": "DELETE FROM notifier.positions",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t)
			if err := migrations.DownTo(t.Context(), url, 5, discard); err != nil {
				t.Fatal(err)
			}
			conn := dbtest.Connect(t, url)
			exec(t, conn, positions, "INSERT INTO notifier.events (key) VALUES ('a')")
			up(t, url)
			if !scalar[bool](t, conn, `SELECT count(*) = 1 AND bool_and(h = i.history AND up_to IS NULL)
				FROM notifier.histories AS h (h), notifier.identity() AS i`) {
				t.Error("the history is not noted")
			}
			want := strings.Contains(positions, "INSERT")
			if got := scalar[bool](t, conn, "SELECT min(taken_at) > '-infinity' FROM notifier.positions"); got != want {
				t.Errorf("that something may have been removed: %t, want %t", got, want)
			}
		})
	}
}

// During a rolling upgrade an old instance meets a newer schema.
func TestNewerSchema_IsShownAndLeftAlone(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, "INSERT INTO notifier.goose_db_version (version_id, is_applied) VALUES (9999, true)")
	up(t, url)
	list := status(t, url)
	if last := list[len(list)-1]; last.Version != 9999 || last.Name != "" || !last.Applied() {
		t.Errorf("a newer migration shows as %+v", last)
	}
	err := migrations.Down(t.Context(), url, discard)
	if err == nil || !strings.Contains(err.Error(), "newer notifier") {
		t.Errorf("down over a newer migration: %v", err)
	}
	if !scalar[bool](t, conn, "SELECT to_regclass('notifier.events') IS NOT NULL") {
		t.Error("the events are gone")
	}
}

func TestUp_RefusesADatabaseNotInUTF8(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	defer exec(t, conn, `DROP DATABASE latin WITH (FORCE)`)
	name := scalar[string](t, conn, "SELECT current_database()")
	err := migrations.Up(t.Context(), strings.Replace(url, "/"+name, "/latin", 1), discard)
	if !errors.Is(err, migrations.ErrEncoding) {
		t.Errorf("got %v, want %v", err, migrations.ErrEncoding)
	}
}

func TestUp_RefusesAStandby(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t, dbtest.Unmigrated())
	signal := filepath.Join(cluster.Dir(), "data", "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), cluster.URL(""), discard); !errors.Is(err, migrations.ErrStandby) {
		t.Errorf("got %v, want %v", err, migrations.ErrStandby)
	}
}

func TestErrors_DoNotShowThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		as(t, dbtest.Empty(t), "nobody", "s3cret"),
		"postgres://nobody:s3cret@127.0.0.1:1/x?connect_timeout=1",
		"postgres://nobody:s3cret@127.0.0.1:99999/x",
		"postgres://nobody:s3cret@[::1/x",
		"postgres://nobody:s3cret@127.0.0.1/x?sslmode=perhaps",
		"host=127.0.0.1 port=none user=nobody password=s3cret",
	} {
		err := migrations.Up(t.Context(), url, discard)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestUp_SessionSettingsOfTheRoleDoNotMatter(t *testing.T) {
	t.Parallel()
	url := dbtest.Empty(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn,
		`CREATE FUNCTION check_timeout() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN
			ASSERT current_setting('statement_timeout') = '0', 'a long migration would be cut off';
			ASSERT tg_tag <> 'CREATE INDEX' OR position('CONCURRENTLY' IN current_query()) = 0
				OR current_setting('lock_timeout') = '0', 'an index must wait for the transactions there are';
		END $$`,
		"CREATE EVENT TRIGGER check_timeout ON ddl_command_start EXECUTE FUNCTION check_timeout()")
	name := scalar[string](t, conn, "SELECT quote_ident(current_database())")
	for _, setting := range []string{
		"statement_timeout = '1min'",
		"lock_timeout = '1min'",
		"search_path = nowhere",
		"timezone = 'Pacific/Auckland'",
		"default_transaction_isolation = 'serializable'",
	} {
		exec(t, conn, "ALTER DATABASE "+name+" SET "+setting)
	}
	up(t, url)
	if at := status(t, url)[0].AppliedAt; time.Since(at).Abs() > time.Minute {
		t.Errorf("applied at %v, want about now", at)
	}
}
