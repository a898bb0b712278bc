package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/instances"
	"github.com/jackc/pgx/v5"
)

// insert writes an event and returns its id, which a rolled back one has, too.
func insert(t *testing.T, conn *pgx.Conn, columns, values string) (id int64) {
	t.Helper()
	err := conn.QueryRow(t.Context(), fmt.Sprintf("INSERT INTO notifier.events (%s) VALUES (%s) RETURNING id", columns, values)).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestExplain_EachWayAnEventCanFailToArrive plants each, and has a real server say
// why.
func TestExplain_EachWayAnEventCanFailToArrive(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	secret := "NOTIFIER_JWT_SECRET=" + strings.Repeat("x", 32)
	p := start(t, []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_ADDR=127.0.0.1:0", secret}, "serve", "--max-payload=100", "--admin-addr=127.0.0.1:0")
	p.says(p.err, "msg=ready")
	url := "http://" + p.address()
	tokenFor := func(args ...string) string {
		code, out, err := run(t, []string{secret}, append([]string{"token", "--user"}, args...)...)
		if code != 0 {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	admin := tokenFor("root", "--role", "admin")
	conn, other := dbtest.Connect(t, database), dbtest.Connect(t, database)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	explain := func(user string, id int64) (e instances.Explanation) {
		t.Helper()
		if err := json.Unmarshal([]byte(page(t, fmt.Sprintf("%s/admin/explain?user=%s&event=%d", p.adminURL(), user, id))), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	is := func(user string, id int64, reason instances.Reason, text string) {
		t.Helper()
		if e := explain(user, id); e.Reason != reason || !strings.Contains(e.Conclusion, text) {
			t.Errorf("%s and %d: %s, %s; want %s, %q", user, id, e.Reason, e.Conclusion, reason, text)
		}
	}

	exec(`INSERT INTO notifier.users (user_id) VALUES ('ann'), ('bob'), ('carl')`)
	exec(`INSERT INTO notifier.users (user_id, disabled) VALUES ('gone', true)`)
	exec(`INSERT INTO notifier.dataset_permissions VALUES ('carl', 'd')`)
	early := insert(t, conn, "type, recipient", "'message', 'ann'")

	watcher := start(t, []string{"NOTIFIER_TOKEN=" + tokenFor("ann")}, "watch", "--url", url, "--user", "ann", "--since", "0")
	dbtest.Eventually(t, "ann is connected", func() bool {
		e := explain("ann", early)
		return len(e.Instances) == 1 && len(e.Instances[0].Connections) == 1
	})
	is("ann", early, instances.Late, "only a replay")
	sent := insert(t, conn, "type, recipient, payload", "'message', 'ann', '\"seen\"'")
	watcher.says(watcher.out, "seen")
	is("ann", sent, instances.Delivered, "client 1 (ernius, 127.0.0.1:")
	is("bob", sent, instances.OtherUser, `it is addressed to "ann"`)
	is("gone", sent, instances.NoUser, "disabled")
	is("nobody", sent, instances.NoUser, "notifier.user_exists")
	is("carl", insert(t, conn, "type, recipient", "'message', 'carl'"), instances.NotConnected, "is not connected")
	is("ann", insert(t, conn, "type", "'message'"), instances.NotSubscribed, "does not want its recipient")
	is("carl", insert(t, conn, "type, recipient, payload", "'message', 'carl', to_json(repeat('x', 200))"), instances.NotConnected, "null goes out in its place")
	scoped := insert(t, conn, "type, dataset_id", "'t', 'd'")
	is("bob", scoped, instances.NoPermission, `may not read events of the type "t" in the dataset "d"`)
	if e := explain("bob", scoped); e.Policy.Decided != "notifier.may_read" || !strings.Contains(e.Policy.Source, "dataset_permissions") ||
		e.Row.After != nil && e.Row.Before != nil && e.Row.After.After(*e.Row.Before) {
		t.Errorf("%+v", e.Policy)
	}
	is("carl", scoped, instances.NotConnected, "")
	exec(`DELETE FROM notifier.dataset_permissions WHERE user_id = 'carl'`)
	is("carl", scoped, instances.NoPermission, "access has changed after the event")
	between := insert(t, conn, "type, dataset_id", "'t', 'd'")
	exec(`INSERT INTO notifier.dataset_permissions VALUES ('carl', 'd')`)
	is("carl", between, instances.Withheld, "was withheld")
	is("carl", scoped, instances.NotConnected, "")
	is("carl", insert(t, conn, "type, dataset_id", "'t', 'd'"), instances.NotConnected, "")

	exec(`BEGIN`)
	rolledBack := insert(t, conn, "type", "'t'")
	exec(`ROLLBACK`)
	is("ann", rolledBack, instances.Absent, "rolled back")
	if _, err := other.Exec(t.Context(), `BEGIN`); err != nil {
		t.Fatal(err)
	}
	open := insert(t, other, "type, recipient", "'message', 'ann'")
	is("ann", open, instances.Open, "pid ")
	if _, err := other.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "it is delivered", func() bool { e := explain("ann", open); return e.Reason == instances.Delivered })
	exec(`DELETE FROM notifier.events WHERE id <= $1`, early)
	is("ann", early, instances.Removed, "removed by retention")

	_, out, _ := run(t, []string{"NOTIFIER_TOKEN=" + admin}, "explain", "--url", url, "--user", "ann", "--event", fmt.Sprint(sent))
	for _, want := range []string{"client 1 (ernius", `event      type "message"`, "may read it: true", "FUNCTION notifier.may_read", "has come to the event", `recipient "ann": wants it`} {
		if !strings.Contains(out, want) {
			t.Errorf("the text does not have %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "seen") {
		t.Error("the payload is shown")
	}
	var told instances.Explanation
	if _, out, _ := run(t, []string{"NOTIFIER_TOKEN=" + admin}, "explain", "--url", url, "--user", "bob", "--event", fmt.Sprint(sent), "--json"); json.Unmarshal([]byte(out), &told) != nil || told.Reason != instances.OtherUser {
		t.Errorf("as JSON: %s", out)
	}
	if code, _, err := run(t, []string{"NOTIFIER_TOKEN=" + tokenFor("ann")}, "explain", "--url", url, "--user", "ann", "--event", "1"); code != exitFailed || !strings.Contains(err, "lacks the role admin") {
		t.Errorf("by who is no admin: code %d, %s", code, err)
	}

	exec(`SELECT notifier.drop_user('ann')`)
	var dropped int64
	if err := conn.QueryRow(t.Context(), `SELECT id FROM notifier.events WHERE control = 'drop_user'`).Scan(&dropped); err != nil {
		t.Fatal(err)
	}
	is("ann", dropped, instances.Control, "drop_user")
	exec(`CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT 1/0 = 1'`)
	is("carl", scoped, instances.PolicyFails, "division by zero")
}
