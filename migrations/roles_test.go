package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

// acting connects as a login role would that is a member of one of ours.
func acting(t *testing.T, databaseURL, role string) *pgx.Conn {
	t.Helper()
	conn := dbtest.Connect(t, databaseURL)
	exec(t, conn, "SET SESSION AUTHORIZATION "+role)
	return conn
}

func TestPublisher_MayPublishInEveryWay(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := acting(t, url, "notifier_publisher")
	exec(t, conn,
		"INSERT INTO notifier.events (type) VALUES ('a')",
		`INSERT INTO notifier.events (created_at, type, action, key, recipient, dataset_id, principal, payload, original)
			VALUES (now(), 'b', 'c', 'd', 'e', 'f', 'g', '{}', '{}')`,
		"INSERT INTO notifier.events DEFAULT VALUES",
		"SELECT notifier.publish('a')",
	)
	rows := [][]any{{"x", "1"}, {"x", "2"}}
	n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"notifier", "events"}, []string{"type", "key"}, pgx.CopyFromRows(rows))
	if err != nil || n != 2 {
		t.Errorf("copied %d rows: %v", n, err)
	}
	if n := scalar[int](t, dbtest.Connect(t, url), "SELECT count(*)::int FROM notifier.events"); n != 6 {
		t.Errorf("%d events, want 6", n)
	}
}

func TestPublisher_MayDoNothingElse(t *testing.T) {
	t.Parallel()
	conn := acting(t, dbtest.New(t), "notifier_publisher")
	for _, sql := range []string{
		"INSERT INTO notifier.events (txid) VALUES ('1')",
		"INSERT INTO notifier.events (rings) VALUES (true)",
		"INSERT INTO notifier.events (control) VALUES ('drop_user')",
		"INSERT INTO notifier.events (id) OVERRIDING SYSTEM VALUE VALUES (1)",
		"INSERT INTO notifier.events (type) VALUES ('a') RETURNING id",
		"COPY notifier.events (txid) FROM STDIN",
		"COPY notifier.events TO STDOUT",
		"SELECT FROM notifier.events",
		"UPDATE notifier.events SET type = 'b'",
		"DELETE FROM notifier.events",
		"TRUNCATE notifier.events",
		"DO $$ BEGIN LOCK TABLE notifier.events IN SHARE MODE; END $$",
		"ALTER TABLE notifier.events DISABLE TRIGGER doorbell",
		"SELECT nextval('notifier.events_id_seq')",
		"SELECT setval('notifier.events_id_seq', 1)",
		"SELECT notifier.drop_user('joe')",
		"SELECT notifier.try_tail()",
		"SELECT notifier.ring()",
		"SELECT FROM notifier.positions",
		"INSERT INTO notifier.positions (position) VALUES (pg_current_snapshot())",
		"SELECT FROM notifier.idempotency_keys",
		"INSERT INTO notifier.idempotency_keys (key) VALUES ('k')",
		"SELECT FROM notifier.goose_db_version",
		"SELECT FROM notifier.histories",
		"SELECT FROM notifier.signing_key",
		"SELECT notifier.identity()",
		"SELECT notifier.beginning()",
		"SELECT notifier.ended_id()",
		"SELECT notifier.adopt('0')",
		"SELECT notifier.adopt_rows('0')",
		"SELECT notifier.anchor_mark(1, '1', now(), '', '', '')",
		"CREATE TABLE notifier.mine (n int)",
		"CREATE FUNCTION notifier.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
	} {
		refused(t, conn, insufficientPrivilege, sql)
	}
	// Without OVERRIDING, Postgres asks for the word before it asks for the right.
	if _, err := conn.Exec(t.Context(), "INSERT INTO notifier.events (id) VALUES (1)"); err == nil {
		t.Error("a publisher chose an id")
	}
}

func TestServer_HasWhatItNeedsAndNoMore(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := acting(t, url, "notifier_server")
	exec(t, conn,
		"INSERT INTO notifier.events (type, recipient, payload) VALUES ('a', 'joe', '{}') RETURNING id, txid",
		"SELECT notifier.publish('a')",
		"SELECT notifier.drop_user('joe')",
		"SELECT notifier.try_tail()",
		"SELECT * FROM notifier.events",
		"DELETE FROM notifier.events WHERE id = 1",
		"INSERT INTO notifier.positions (position) VALUES (pg_current_snapshot())",
		"DELETE FROM notifier.positions WHERE taken_at < now()",
		"INSERT INTO notifier.idempotency_keys (principal, key) VALUES ('p', 'k') ON CONFLICT DO NOTHING",
		"DELETE FROM notifier.idempotency_keys WHERE created_at < now()",
		"SELECT version_id FROM notifier.goose_db_version",
		"SELECT * FROM notifier.identity()",
		"SELECT * FROM notifier.beginning()",
		"SELECT notifier.position()",
		"SELECT * FROM notifier.adopt('0')",
		"SELECT notifier.anchor_mark(id, txid, created_at, type, action, key) FROM notifier.events",
		"SELECT * FROM notifier.histories",
		"UPDATE notifier.histories SET up_to = pg_current_snapshot()",
		"LISTEN notifier",
	)
	for _, sql := range []string{
		"INSERT INTO notifier.events (control) VALUES ('drop_user')",
		"INSERT INTO notifier.events (txid) VALUES ('1')",
		"UPDATE notifier.events SET type = 'b'",
		"UPDATE notifier.events SET txid = '3'",
		"TRUNCATE notifier.events",
		"UPDATE notifier.histories SET history = ''",
		"DELETE FROM notifier.histories",
		"SELECT notifier.ended_id()",
		"INSERT INTO notifier.goose_db_version (version_id, is_applied) VALUES (2, true)",
		"CREATE TABLE notifier.mine (n int)",
		"DROP TRIGGER doorbell ON notifier.events",
	} {
		refused(t, conn, insufficientPrivilege, sql)
	}
}

// A server that starts asks whether the schema is new enough, and --migrate finds nothing to do: neither needs more
// than the server's own role.
func TestServer_MayAskForTheStatus(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	exec(t, admin, "CREATE ROLE asking_server LOGIN PASSWORD 'p' IN ROLE notifier_server")
	defer exec(t, admin, "DROP ROLE asking_server")
	asking := as(t, url, "asking_server", "p")
	if list := status(t, asking); !list[0].Applied() {
		t.Error("the schema counts as not applied")
	}
	up(t, asking)
}

func TestPublic_MayNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	exec(t, admin, "CREATE ROLE somebody")
	defer exec(t, admin, "DROP ROLE somebody")
	conn := acting(t, url, "somebody")
	for _, sql := range []string{
		"SELECT FROM notifier.events",
		"INSERT INTO notifier.events (type) VALUES ('a')",
		"SELECT notifier.publish('a')",
		"SELECT notifier.drop_user('joe')",
		"SELECT notifier.try_tail()",
		"SELECT notifier.position()",
		"CREATE FUNCTION notifier.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
	} {
		refused(t, conn, insufficientPrivilege, sql)
	}
}

// What a page load needs is the schema, and nothing in it.
func TestPosition_IsForWhoeverMaySeeTheSchema(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	exec(t, admin, "CREATE ROLE page_reader", "GRANT USAGE ON SCHEMA notifier TO page_reader")
	defer exec(t, admin, "DROP OWNED BY page_reader", "DROP ROLE page_reader")
	for _, role := range []string{"page_reader", "notifier_publisher"} {
		conn := acting(t, url, role)
		if text := scalar[string](t, conn, "SELECT notifier.position()"); text == "" {
			t.Errorf("%s got nothing", role)
		}
		for _, sql := range []string{"SELECT FROM notifier.events", "SELECT FROM notifier.signing_key", "SELECT FROM notifier.positions"} {
			refused(t, conn, insufficientPrivilege, sql)
		}
	}
}

// The commit runs our trigger with the committing role's rights and its search_path.
func TestCommit_NeedsNoRightOnTheSchema(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	admin := dbtest.Connect(t, url)
	exec(t, admin,
		"CREATE ROLE through_view",
		"CREATE VIEW public.outbox AS SELECT type, key FROM notifier.events",
		"GRANT INSERT ON public.outbox TO through_view")
	defer exec(t, admin, "DROP VIEW public.outbox", "DROP ROLE through_view")
	exec(t, acting(t, url, "through_view"), "INSERT INTO public.outbox (type) VALUES ('a')")
	if n := bell.heard(t); n != 1 {
		t.Errorf("the bell rang %d times, want once", n)
	}
}

func TestCommit_CallsNothingFromASearchPath(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	conn := dbtest.Connect(t, url)
	exec(t, conn, "CREATE SCHEMA evil")
	for _, signature := range []string{
		"current_setting(text, boolean) RETURNS text", "set_config(text, text, boolean) RETURNS text",
		"pg_notification_queue_usage() RETURNS float8", "clock_timestamp() RETURNS timestamptz",
		"pg_current_xact_id() RETURNS xid8", "pg_try_advisory_xact_lock(int, int) RETURNS boolean",
		"pg_try_advisory_xact_lock_shared(int, int) RETURNS boolean",
		"same(text, text) RETURNS boolean", "less(float8, float8) RETURNS boolean",
	} {
		exec(t, conn, "CREATE FUNCTION evil."+signature+" LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil was called'; END $$")
	}
	exec(t, conn,
		"CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same)",
		"CREATE OPERATOR evil.< (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.less)",
		"SET search_path = evil, pg_catalog",
		"INSERT INTO notifier.events (type) VALUES ('a')",
		"SELECT notifier.publish('a')",
		"SELECT notifier.drop_user('joe')",
		"SELECT notifier.try_tail()",
	)
	if n := bell.heard(t); n != 3 {
		t.Errorf("the bell rang %d times, want 3", n)
	}
	refused(t, conn, "P0001", "SELECT 'a'::text = 'b'::text") // the trap is set
}
