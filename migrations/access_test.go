package migrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
	"example.com/notifier/notifier"
)

// change is a control row.
type change struct {
	what      string // "granted alice d1", * for null
	principal string
	payload   struct {
		Snapshot    string
		SessionUser string `json:"session_user"`
		Source      string
	}
	txid uint64
}

// sees reports whether the change's snapshot has a transaction ended.
func (c change) sees(t *testing.T, txid uint64) bool {
	t.Helper()
	p, err := notifier.ParsePosition(c.payload.Snapshot)
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	return p.Ended(txid)
}

// changes returns the control rows of access after an id, in their order.
func changes(t *testing.T, conn *pgx.Conn, after int64) []change {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		SELECT replace(control, 'access_', '') || ' ' || coalesce(recipient, '*') || ' ' || coalesce(dataset_id, '*'),
			principal, payload, txid
		FROM notifier.events
		WHERE control LIKE 'access%' AND id > $1
		ORDER BY id`, after)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c change, err error) {
		var payload []byte
		if err := row.Scan(&c.what, &c.principal, &payload, &c.txid); err != nil {
			return c, err
		}
		return c, json.Unmarshal(payload, &c.payload)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func whats(all []change) []string {
	list := []string{}
	for _, c := range all {
		list = append(list, c.what)
	}
	return list
}

func lastID(t *testing.T, conn *pgx.Conn) int64 {
	t.Helper()
	return scalar[int64](t, conn, `SELECT coalesce(max(id), 0) FROM notifier.events`)
}

// each returns a line for each number.
func each(format string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i+1)
	}
	return list
}

func TestAccess_EachChangeHasItsControlRow(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	modern := scalar[bool](t, conn, `SELECT current_setting('server_version_num')::int >= 150000`) // has MERGE
	const given = `
		SET notifier.principal = '';
		TRUNCATE notifier.users, notifier.dataset_permissions;
		INSERT INTO notifier.users (user_id) VALUES ('a');
		INSERT INTO notifier.users (user_id, disabled) VALUES ('off', true);
		INSERT INTO notifier.dataset_permissions VALUES ('a', 'd'), ('a', 'e'), ('b', 'd');`
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{`INSERT INTO notifier.dataset_permissions VALUES ('c', 'd')`, []string{"granted c d"}},
		{`INSERT INTO notifier.dataset_permissions VALUES ('c', 'd'), ('c', 'e')`, []string{"granted c d", "granted c e"}},
		{`INSERT INTO notifier.dataset_permissions VALUES ('a', 'd'), ('c', 'd') ON CONFLICT DO NOTHING`, []string{"granted c d"}},
		{`INSERT INTO notifier.dataset_permissions VALUES ('a', 'd') ON CONFLICT DO NOTHING`, []string{}},
		{`INSERT INTO notifier.dataset_permissions VALUES ('a', 'd'), ('c', 'd')
			ON CONFLICT (user_id, dataset_id) DO UPDATE SET dataset_id = 'f'`, []string{"revoked a d", "granted c d", "granted a f"}},
		{`DELETE FROM notifier.dataset_permissions WHERE user_id = 'a'`, []string{"revoked a d", "revoked a e"}},
		{`DELETE FROM notifier.dataset_permissions WHERE user_id = 'nobody'`, []string{}},
		{`UPDATE notifier.dataset_permissions SET dataset_id = dataset_id`, []string{}},
		{`UPDATE notifier.dataset_permissions SET dataset_id = CASE dataset_id WHEN 'e' THEN 'f' ELSE dataset_id END`,
			[]string{"revoked a e", "granted a f"}},
		{`TRUNCATE notifier.dataset_permissions`, []string{"revoked * *"}},
		{`INSERT INTO notifier.dataset_permissions SELECT 'c', 'd' || i FROM generate_series(1, 100) i`, each("granted c d%d", 100)},
		{`INSERT INTO notifier.dataset_permissions SELECT 'c', 'd' || i FROM generate_series(1, 101) i`, []string{"granted c *"}},
		{`INSERT INTO notifier.dataset_permissions SELECT 'u' || i, 'd' FROM generate_series(1, 101) i`, []string{"granted * d"}},
		{`INSERT INTO notifier.dataset_permissions SELECT 'u' || i, 'd' || i FROM generate_series(1, 101) i;`, []string{"granted * *"}},
		{`BEGIN;
			INSERT INTO notifier.dataset_permissions SELECT 'u' || i, 'd' FROM generate_series(1, 101) i;
			UPDATE notifier.dataset_permissions SET dataset_id = 'g' WHERE user_id LIKE 'u%';
			DELETE FROM notifier.dataset_permissions WHERE user_id LIKE 'u%';
			COMMIT`, []string{"granted * d", "revoked * d", "granted * g", "revoked * g"}},
		{`SET session_replication_role = replica;
			DELETE FROM notifier.dataset_permissions WHERE user_id = 'b';
			UPDATE notifier.users SET disabled = true;
			SET session_replication_role = origin`, []string{"revoked b d", "revoked a *"}},
		{`BEGIN; SAVEPOINT s;
			DELETE FROM notifier.dataset_permissions; ROLLBACK TO s;
			DELETE FROM notifier.dataset_permissions WHERE dataset_id = 'e'; COMMIT`, []string{"revoked a e"}},
		{`INSERT INTO notifier.users (user_id) VALUES ('b'), ('c')`, []string{"granted b *", "granted c *"}},
		{`INSERT INTO notifier.users (user_id, disabled) VALUES ('b', true)`, []string{}},
		{`INSERT INTO notifier.users (user_id) SELECT 'u' || i FROM generate_series(1, 101) i`, []string{"granted * *"}},
		{`DELETE FROM notifier.users`, []string{"revoked a *"}},
		{`TRUNCATE notifier.users`, []string{"revoked * *"}},
		{`UPDATE notifier.users SET disabled = NOT disabled`, []string{"revoked a *", "granted off *"}},
		{`UPDATE notifier.users SET user_id = 'z' WHERE user_id = 'a'`, []string{"revoked a *", "granted z *"}},
		{`UPDATE notifier.users SET password_hash = 'new'`, []string{"changed a *"}},
		{`UPDATE notifier.users SET roles = '{publisher}'`, []string{"changed a *"}},
		{`UPDATE notifier.users SET generation = generation + 1`, []string{"changed a *"}},
		{`UPDATE notifier.users SET created_at = now(), roles = roles`, []string{}},
		{`SELECT notifier.access_changed()`, []string{"changed * *"}},
		{`SELECT notifier.access_changed('a')`, []string{"changed a *"}},
		{`SELECT notifier.access_changed(dataset_id => 'd')`, []string{"changed * d"}},
		{`SELECT notifier.access_changed('a', 'd')`, []string{"changed a d"}},
		{`MERGE INTO notifier.dataset_permissions p
			USING (VALUES ('a', 'd', 'drop'), ('a', 'e', 'move'), ('c', 'd', '')) AS v (u, d, what)
			ON p.user_id = v.u AND p.dataset_id = v.d
			WHEN MATCHED AND what = 'drop' THEN DELETE
			WHEN MATCHED THEN UPDATE SET dataset_id = 'f'
			WHEN NOT MATCHED THEN INSERT VALUES (v.u, v.d)`, []string{"revoked a d", "revoked a e", "granted c d", "granted a f"}},
	} {
		if strings.HasPrefix(c.sql, "MERGE") && !modern {
			continue
		}
		exec(t, conn, given)
		before := lastID(t, conn)
		exec(t, conn, c.sql)
		got := whats(changes(t, conn, before))
		slices.Sort(got) // in what order a statement visits rows, and MERGE fires triggers, is its own affair
		slices.Sort(c.want)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.sql, diff)
		}
	}
}

func TestAccess_CopyGrants(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	_, err := conn.CopyFrom(t.Context(), pgx.Identifier{"notifier", "dataset_permissions"}, []string{"user_id", "dataset_id"},
		pgx.CopyFromRows([][]any{{"a", "d"}, {"b", "d"}}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"granted a d", "granted b d"}, whats(changes(t, conn, 0))); diff != "" {
		t.Error(diff)
	}
}

// A trigger for each row, in a large transaction, must not flood the log.
func TestAccess_OneTransactionWritesABoundedNumberOfControlRows(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `DO $$ BEGIN
		FOR i IN 1..1000 LOOP
			PERFORM notifier.access_changed('u' || i);
			INSERT INTO notifier.dataset_permissions VALUES ('u' || i, 'd');
		END LOOP; END $$`)
	all := whats(changes(t, conn, 0))
	if len(all) != 101 || all[0] != "changed u1 *" || all[1] != "granted u1 d" || all[100] != "changed * *" {
		t.Errorf("%d control rows, the first %v, the last %v", len(all), all[:2], all[len(all)-1])
	}
	before := lastID(t, conn)
	exec(t, conn, `DELETE FROM notifier.dataset_permissions WHERE user_id = 'u7'`)
	if diff := cmp.Diff([]string{"revoked u7 d"}, whats(changes(t, conn, before))); diff != "" {
		t.Errorf("the next transaction begins anew: %s", diff)
	}
}

// What a savepoint takes back must not count, or the changes after it would be silent.
func TestAccess_SavepointTakesItsCountBack(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `BEGIN; SAVEPOINT s`)
	exec(t, conn, `DO $$ BEGIN FOR i IN 1..200 LOOP PERFORM notifier.access_changed('u' || i); END LOOP; END $$`)
	exec(t, conn, `ROLLBACK TO s; SELECT notifier.access_changed('a'); COMMIT`)
	if diff := cmp.Diff([]string{"changed a *"}, whats(changes(t, conn, 0))); diff != "" {
		t.Error(diff)
	}
}

// Nobody may silence changes by a mark that a session has kept.
func TestAccess_StaleMarkSilencesNothing(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `SET notifier.access_changes = '3 1000'`)
	exec(t, conn, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
	exec(t, conn, `SET notifier.access_changes = 'nonsense'`)
	exec(t, conn, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'e')`)
	if diff := cmp.Diff([]string{"granted a d", "granted a e"}, whats(changes(t, conn, 0))); diff != "" {
		t.Error(diff)
	}
}

// become is another user on a connection of its own.
func become(t *testing.T, url, role string) *pgx.Conn {
	t.Helper()
	conn := dbtest.Connect(t, url)
	exec(t, conn, `SET SESSION AUTHORIZATION `+role)
	return conn
}

// newRole makes a role that goes with the test. Its name has room for less than the database's.
func newRole(t *testing.T, conn *pgx.Conn, name string) string {
	t.Helper()
	name = pgx.Identifier{name + scalar[string](t, conn, `SELECT '_' || left(md5(current_database()), 12)`)}.Sanitize()
	exec(t, conn, `CREATE ROLE `+name)
	t.Cleanup(func() {
		awaitTemporaryTablesGone(t, conn)
		if _, err := conn.Exec(context.Background(), `DROP OWNED BY `+name+`; DROP ROLE `+name); err != nil {
			t.Errorf("drop role %s: %v", name, err)
		}
	})
	return name
}

// awaitTemporaryTablesGone waits for what other sessions have left, which their servers drop some time after
// they have been closed: DROP OWNED would come upon a table that is gone when it looks closer.
func awaitTemporaryTablesGone(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for left := true; left; {
		if time.Now().After(deadline) {
			t.Error("temporary tables of other sessions stay")
			return
		}
		// not the test's context, which has ended
		err := conn.QueryRow(context.Background(), `SELECT EXISTS (
			SELECT
			FROM pg_class
			WHERE relpersistence = 't'
				AND relnamespace <> pg_my_temp_schema())`).Scan(&left)
		if err != nil {
			t.Errorf("wait for temporary tables to go: %v", err)
			return
		}
	}
}

func TestAccess_ControlRowsSayWhoDidIt(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	role := newRole(t, admin, "app")
	exec(t, admin, `GRANT notifier_publisher TO `+role)
	exec(t, admin, `GRANT INSERT ON notifier.dataset_permissions TO `+role)
	app := become(t, url, role)
	exec(t, app, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
	exec(t, app, `BEGIN; SET LOCAL notifier.principal = 'their admin'; SELECT notifier.access_changed('a'); COMMIT`)
	exec(t, app, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'e')`)
	login := strings.Trim(role, `"`)
	for i, want := range []struct{ principal, source string }{
		{login, "dataset_permissions"}, {"their admin", "access_changed()"}, {login, "dataset_permissions"},
	} {
		c := changes(t, admin, 0)[i]
		if c.principal != want.principal || c.payload.Source != want.source || c.payload.SessionUser != login {
			t.Errorf("%s: principal %q, payload %+v, want %+v by %q", c.what, c.principal, c.payload, want, login)
		}
	}
}

func txid(t *testing.T, conn *pgx.Conn) uint64 {
	t.Helper()
	return scalar[uint64](t, conn, `SELECT pg_current_xact_id()`)
}

// event publishes one in a transaction of its own, and returns that.
func event(t *testing.T, conn *pgx.Conn) uint64 {
	t.Helper()
	return scalar[uint64](t, conn, `INSERT INTO notifier.events (type) VALUES ('e') RETURNING txid`)
}

func TestAccess_GenerationGrowsWhenTokensMustEnd(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	generation := func() int64 {
		return scalar[int64](t, conn, `SELECT generation FROM notifier.users`)
	}
	exec(t, conn, `INSERT INTO notifier.users (user_id, roles) VALUES ('a', '{admin,publisher}')`)
	for _, c := range []struct {
		set   string
		grows bool
	}{
		{`password_hash = 'one'`, true},
		{`password_hash = 'one'`, false},
		{`password_hash = NULL`, true},
		{`disabled = true`, true},
		{`disabled = true`, false},
		{`disabled = false`, false},
		{`roles = '{publisher}'`, true},
		{`roles = '{publisher,admin}'`, false},
		{`user_id = 'b'`, true},
		{`created_at = now()`, false},
		{`generation = 0`, false},
		{`generation = generation + 5`, true},
	} {
		before := generation()
		exec(t, conn, `UPDATE notifier.users SET `+c.set)
		if after := generation(); after < before || after > before != c.grows {
			t.Errorf("%s: generation %d, then %d", c.set, before, after)
		}
	}
	before := generation()
	exec(t, conn, `DELETE FROM notifier.users; INSERT INTO notifier.users (user_id) VALUES ('b')`)
	if after := generation(); after <= before {
		t.Errorf("made anew: generation %d, before %d; the old tokens would count again", after, before)
	}
}

func TestAccess_NobodyMayMoreThanNeeded(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	exec(t, dbtest.Connect(t, url), `INSERT INTO notifier.users (user_id) VALUES ('a')`)
	both := map[string]bool{"notifier_publisher": true, "notifier_server": true}
	server := map[string]bool{"notifier_server": true}
	conns := map[string]*pgx.Conn{}
	for role := range both {
		conns[role] = become(t, url, role)
	}
	for sql, may := range map[string]map[string]bool{
		`SELECT notifier.access_changed('a')`:                                          both,
		`SELECT notifier.publish('t')`:                                                 both,
		`SELECT notifier.user_exists('a'), notifier.may_read('a', 't', 'd')`:           server,
		`SELECT notifier.dataset_of('t', 'k'), notifier.may_read_or_no('a', 't', 'd')`: server,
		`SELECT FROM notifier.users`:                                                   server,
		`INSERT INTO notifier.users (user_id, password_hash) VALUES ('n', 'h')`:        server,
		`UPDATE notifier.users SET password_hash = 'x'`:                                server,
		`SELECT FROM notifier.dataset_permissions`:                                     server,
		`SELECT FROM notifier.signing_key`:                                             server,
		`UPDATE notifier.users SET generation = 1`:                                     nil,
		`UPDATE notifier.users SET user_id = 'root'`:                                   nil,
		`DELETE FROM notifier.users`:                                                   nil,
		`TRUNCATE notifier.users`:                                                      nil,
		`INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`:                   nil,
		`DELETE FROM notifier.dataset_permissions`:                                     nil,
		`UPDATE notifier.signing_key SET secret = DEFAULT`:                             nil,
		`SELECT notifier.change_snapshot(true, true)`:                                  nil,
		`SELECT notifier.hold_publishers()`:                                            nil,
		`SELECT notifier.is_ordered('access_granted')`:                                 nil,
		`SELECT FROM notifier.access_changes`:                                          nil,
		`INSERT INTO notifier.access_changes VALUES ('', '{}', '{}', '', '', '')`:      nil,
		`SELECT notifier.note_change('drop_user', '{a}', '{}', '')`:                    nil,
		`INSERT INTO notifier.events (control) VALUES ('access_changed')`:              nil,
	} {
		for role, conn := range conns {
			_, err := conn.Exec(t.Context(), `BEGIN; `+sql)
			if allowed := err == nil; allowed != may[role] {
				t.Errorf("%s: %s: %v", role, sql, err)
			} else if !allowed && sqlState(err) != insufficientPrivilege {
				t.Errorf("%s: %s: %v", role, sql, err)
			}
			exec(t, conn, `ROLLBACK`)
		}
	}
}

// A function that is replaced, and not dropped, keeps its owner and its grants, whoever of the owner's role does it.
func TestAccess_ReplacedPolicyKeepsItsGrants(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	const acl = `SELECT string_agg(proowner || ' ' || proacl::text, ' ' ORDER BY proname)
		FROM pg_proc
		WHERE proname IN ('user_exists', 'may_read', 'dataset_of')`
	before := scalar[string](t, admin, acl)
	exec(t, admin, `
		CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
		CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean
			LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS 'BEGIN RETURN true; END';
		CREATE OR REPLACE FUNCTION notifier.dataset_of(type text, key text) RETURNS text LANGUAGE sql AS 'SELECT NULL'`)
	if diff := cmp.Diff(before, scalar[string](t, admin, acl)); diff != "" {
		t.Error(diff)
	}
	exec(t, become(t, url, "notifier_server"), `SELECT notifier.user_exists('a'), notifier.may_read('a', 't', 'd'), notifier.dataset_of('t', 'k')`)
}

// The trigger runs with the rights of its owner, so a role that may only grant needs no right to the log.
func TestAccess_GrantingNeedsNoRightToTheLog(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	admin := dbtest.Connect(t, url)
	role := newRole(t, admin, "granter")
	exec(t, admin, `GRANT USAGE ON SCHEMA notifier TO `+role)
	exec(t, admin, `GRANT INSERT, DELETE ON notifier.dataset_permissions TO `+role)
	exec(t, become(t, url, role), `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
	if diff := cmp.Diff([]string{"granted a d"}, whats(changes(t, admin, 0))); diff != "" {
		t.Error(diff)
	}
}

func TestAccess_DownAndUpAgain(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	key := scalar[[]byte](t, conn, `SELECT secret FROM notifier.signing_key`)
	if len(key) != 32 {
		t.Errorf("the signing key has %d bytes", len(key))
	}
	if err := migrations.DownTo(t.Context(), url, 1, discard); err != nil {
		t.Fatal(err)
	}
	left := scalar[[]string](t, conn, `
		SELECT coalesce(array_agg(name ORDER BY name), '{}')
		FROM (
			SELECT relname::text FROM pg_class WHERE relnamespace = 'notifier'::regnamespace AND relkind IN ('r', 'S', 'v')
			UNION ALL
			SELECT proname::text FROM pg_proc WHERE pronamespace = 'notifier'::regnamespace
		) AS objects (name)
		WHERE name ~ 'user|permission|key|access|change|read|dataset|note|generation'
			AND name NOT IN ('drop_user', 'idempotency_keys')`)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	exec(t, conn, `SELECT notifier.publish('still works')`)
	if err := migrations.Up(t.Context(), url, discard); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(key, scalar[[]byte](t, conn, `SELECT secret FROM notifier.signing_key`)) {
		t.Error("the signing key is no random one")
	}
}
