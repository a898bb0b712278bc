package migrations_test

import (
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
)

func TestPublish_FromATrigger(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn,
		"CREATE TABLE issues (id int, title text)",
		`CREATE FUNCTION issue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM notifier.publish('issueUpdate', key => NEW.id::text, payload => to_json(NEW));
			RETURN NULL;
		END $$`,
		"CREATE TRIGGER changed AFTER INSERT ON issues FOR EACH ROW EXECUTE FUNCTION issue_changed()",
		"INSERT INTO issues VALUES (4711, 'it is broken')",
	)
	got := scalar[string](t, conn, "SELECT concat_ws('|', type, action, key, payload) FROM notifier.events")
	if want := `issueUpdate||4711|{"id":4711,"title":"it is broken"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPublish_KeepsEveryArgument(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `SELECT notifier.publish('t', 'a', 'k', '{"b": 1,  "a": 1.0, "a": 2}', 'r', 'd', '[ ]', 'p', '2001-02-03Z')`)
	got := scalar[string](t, conn, `
		SELECT concat_ws('|', type, action, key, payload, recipient, dataset_id, original, principal,
			extract(epoch FROM created_at)::bigint, control IS NULL, txid IS NOT NULL)
		FROM notifier.events`)
	if want := `t|a|k|{"b": 1,  "a": 1.0, "a": 2}|r|d|[ ]|p|981158400|t|t`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// An application's trigger that computes a null must not fail its commit.
func TestPublish_TakesNulls(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `SELECT notifier.publish(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
		`SELECT notifier.publish('t', created_at => 'infinity')`,
		`INSERT INTO notifier.events (type, action, key, created_at) VALUES (NULL, NULL, NULL, '-infinity')`)
	at := scalar[time.Time](t, conn, "SELECT created_at FROM notifier.events WHERE type IS NULL AND created_at > '2000-01-01'")
	if time.Since(at).Abs() > time.Minute {
		t.Errorf("created at %v, want about now", at)
	}
}

func TestDropUser_SaysWhoDidIt(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	refused(t, conn, nullNotAllowed, "SELECT notifier.drop_user(NULL)")
	exec(t, conn, "SELECT notifier.drop_user('joe', 'root of all')", "SET SESSION AUTHORIZATION notifier_server",
		"SELECT notifier.drop_user('jim')", "RESET SESSION AUTHORIZATION")
	got := scalar[string](t, conn, "SELECT string_agg(concat_ws('|', control, recipient, principal), ' ' ORDER BY id) FROM notifier.events")
	if want := "drop_user|joe|root of all drop_user|jim|notifier_server"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPublish_ReadOnlyIsPostgresOwnError(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, "SET default_transaction_read_only = on")
	refused(t, conn, readOnlyTransaction, "INSERT INTO notifier.events (type) VALUES ('a')")
	refused(t, conn, readOnlyTransaction, "SELECT notifier.publish('a')")
	refused(t, conn, readOnlyTransaction, "SELECT notifier.drop_user('joe')")
}
