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

const explainSecret = "NOTIFIER_JWT_SECRET=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// explained is a real server that is asked about events.
type explained struct {
	t       *testing.T
	server  *process
	conn    *pgx.Conn
	other   *pgx.Conn
	watcher *process // ann's
	early   int64    // an event for ann from before she came
	sent    int64    // one that she has had
	scoped  int64    // one of a dataset
}

func newExplained(t *testing.T) *explained {
	t.Helper()
	database := dbtest.New(t)
	e := &explained{t: t, conn: dbtest.Connect(t, database), other: dbtest.Connect(t, database)}
	e.server = start(t, []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_ADDR=127.0.0.1:0", explainSecret},
		"serve", "--max-payload=100", "--admin-addr=127.0.0.1:0")
	e.server.says(e.server.err, "msg=ready")
	e.exec(`INSERT INTO notifier.users (user_id) VALUES ('ann'), ('bob'), ('carl')`)
	e.exec(`INSERT INTO notifier.users (user_id, disabled) VALUES ('gone', true)`)
	e.exec(`INSERT INTO notifier.dataset_permissions VALUES ('carl', 'd')`)
	e.early = e.insert(e.conn, "type, recipient", "'message', 'ann'")
	e.watcher = start(t, []string{"NOTIFIER_TOKEN=" + e.token("ann")}, "watch", "--url", e.url(), "--user", "ann", "--since", "0")
	dbtest.Eventually(t, "ann is connected", func() bool {
		told := e.ask("ann", e.early)
		return len(told.Instances) == 1 && len(told.Instances[0].Connections) == 1
	})
	return e
}

func (e *explained) url() string { return "http://" + e.server.address() }

func (e *explained) token(args ...string) string {
	e.t.Helper()
	code, out, err := run(e.t, []string{explainSecret}, append([]string{"token", "--user"}, args...)...)
	if code != 0 {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (e *explained) exec(sql string, args ...any) {
	e.t.Helper()
	if _, err := e.conn.Exec(e.t.Context(), sql, args...); err != nil {
		e.t.Fatalf("%s: %v", sql, err)
	}
}

// insert writes an event and returns its id, which a rolled back one has, too.
func (e *explained) insert(conn *pgx.Conn, columns, values string) (id int64) {
	e.t.Helper()
	err := conn.QueryRow(e.t.Context(), fmt.Sprintf("INSERT INTO notifier.events (%s) VALUES (%s) RETURNING id", columns, values)).Scan(&id)
	if err != nil {
		e.t.Fatal(err)
	}
	return id
}

func (e *explained) ask(user string, id int64) (told instances.Explanation) {
	e.t.Helper()
	if err := json.Unmarshal([]byte(page(e.t, fmt.Sprintf("%s/admin/explain?user=%s&event=%d", e.server.adminURL(), user, id))), &told); err != nil {
		e.t.Fatal(err)
	}
	return told
}

func (e *explained) is(user string, id int64, reason instances.Reason, text string) {
	e.t.Helper()
	if told := e.ask(user, id); told.Reason != reason || !strings.Contains(told.Conclusion, text) {
		e.t.Errorf("%s and %d: %s, %s; want %s, %q", user, id, told.Reason, told.Conclusion, reason, text)
	}
}

// TestExplain_EachWayAnEventCanFailToArrive plants each, and has a real server say
// why. The steps build on one another.
func TestExplain_EachWayAnEventCanFailToArrive(t *testing.T) {
	t.Parallel()
	e := newExplained(t)
	e.byAddressee()
	e.byPolicy()
	e.byFate()
	e.byCommand()
	e.byWhatEnds()
}

// byAddressee: whom an event is for, and who is there.
func (e *explained) byAddressee() {
	e.t.Helper()
	e.is("ann", e.early, instances.Late, "only a replay")
	e.sent = e.insert(e.conn, "type, recipient, payload", "'message', 'ann', '\"seen\"'")
	e.watcher.says(e.watcher.out, "seen")
	e.is("ann", e.sent, instances.Delivered, "client 1 (ernius, 127.0.0.1:")
	e.is("bob", e.sent, instances.OtherUser, `it is addressed to "ann"`)
	e.is("gone", e.sent, instances.NoUser, "disabled")
	e.is("nobody", e.sent, instances.NoUser, "notifier.user_exists")
	e.is("carl", e.insert(e.conn, "type, recipient", "'message', 'carl'"), instances.NotConnected, "is not connected")
	e.is("ann", e.insert(e.conn, "type", "'message'"), instances.NotSubscribed, "does not want its recipient")
	e.is("carl", e.insert(e.conn, "type, recipient, payload", "'message', 'carl', to_json(repeat('x', 200))"),
		instances.NotConnected, "null goes out in its place")
}

// byPolicy: who may read it, then and now.
func (e *explained) byPolicy() {
	e.t.Helper()
	e.scoped = e.insert(e.conn, "type, dataset_id", "'t', 'd'")
	e.is("bob", e.scoped, instances.NoPermission, `may not read events of the type "t" in the dataset "d"`)
	if told := e.ask("bob", e.scoped); told.Policy.Decided != "notifier.may_read" || !strings.Contains(told.Policy.Source, "dataset_permissions") ||
		told.Row.After != nil && told.Row.Before != nil && told.Row.After.After(*told.Row.Before) {
		e.t.Errorf("%+v", told.Policy)
	}
	e.is("carl", e.scoped, instances.NotConnected, "")
	e.exec(`DELETE FROM notifier.dataset_permissions WHERE user_id = 'carl'`)
	e.is("carl", e.scoped, instances.NoPermission, "access has changed after the event")
	between := e.insert(e.conn, "type, dataset_id", "'t', 'd'")
	e.exec(`INSERT INTO notifier.dataset_permissions VALUES ('carl', 'd')`)
	e.is("carl", between, instances.Withheld, "was withheld")
	e.is("carl", e.scoped, instances.NotConnected, "")
	e.is("carl", e.insert(e.conn, "type, dataset_id", "'t', 'd'"), instances.NotConnected, "")
}

// byFate: rolled back, not committed yet, removed.
func (e *explained) byFate() {
	e.t.Helper()
	e.exec(`BEGIN`)
	rolledBack := e.insert(e.conn, "type", "'t'")
	e.exec(`ROLLBACK`)
	e.is("ann", rolledBack, instances.Absent, "rolled back")
	if _, err := e.other.Exec(e.t.Context(), `BEGIN`); err != nil {
		e.t.Fatal(err)
	}
	open := e.insert(e.other, "type, recipient", "'message', 'ann'")
	e.is("ann", open, instances.Open, "pid ")
	if _, err := e.other.Exec(e.t.Context(), `COMMIT`); err != nil {
		e.t.Fatal(err)
	}
	dbtest.Eventually(e.t, "it is delivered", func() bool { return e.ask("ann", open).Reason == instances.Delivered })
	e.exec(`DELETE FROM notifier.events WHERE id <= $1`, e.early)
	e.is("ann", e.early, instances.Removed, "removed by retention")
}

// byCommand: what the command prints, as text and as JSON, and to whom.
func (e *explained) byCommand() {
	e.t.Helper()
	admin, sent := e.token("root", "--role", "admin"), fmt.Sprint(e.sent)
	asked := func(token, user, event string, more ...string) (code int, out, err string) {
		args := append([]string{"explain", "--url", e.url(), "--user", user, "--event", event}, more...)
		return run(e.t, []string{"NOTIFIER_TOKEN=" + token}, args...)
	}
	_, out, _ := asked(admin, "ann", sent)
	for _, want := range []string{"client 1 (ernius", `event      type "message"`, "may read it: true", "FUNCTION notifier.may_read", "has come to the event", `recipient "ann": wants it`} {
		if !strings.Contains(out, want) {
			e.t.Errorf("the text does not have %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "seen") {
		e.t.Error("the payload is shown")
	}
	var told instances.Explanation
	if _, out, _ := asked(admin, "bob", sent, "--json"); json.Unmarshal([]byte(out), &told) != nil || told.Reason != instances.OtherUser {
		e.t.Errorf("as JSON: %s", out)
	}
	if code, _, err := asked(e.token("ann"), "ann", "1"); code != exitFailed || !strings.Contains(err, "lacks the role admin") {
		e.t.Errorf("by who is no admin: code %d, %s", code, err)
	}
}

// byWhatEnds: an order to drop a user is no event, and a policy may fail.
func (e *explained) byWhatEnds() {
	e.t.Helper()
	e.exec(`SELECT notifier.drop_user('ann')`)
	var dropped int64
	if err := e.conn.QueryRow(e.t.Context(), `SELECT id FROM notifier.events WHERE control = 'drop_user'`).Scan(&dropped); err != nil {
		e.t.Fatal(err)
	}
	e.is("ann", dropped, instances.Control, "drop_user")
	e.exec(`CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT 1/0 = 1'`)
	e.is("carl", e.scoped, instances.PolicyFails, "division by zero")
}
