package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"github.com/jackc/pgx/v5"
)

// closedInstance is a whole server that takes tokens by a secret, and passwords.
func closedInstance(t *testing.T, url string) *system {
	t.Helper()
	tokens, err := auth.New(t.Context(), bySecret())
	if err != nil {
		t.Fatal(err)
	}
	return instance(t, url, func(c *httpapi.Config) { c.Tokens, c.Anonymous = tokens, false })
}

// exec runs a statement.
func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// loggedIn is a user's connections to one instance.
type loggedIn struct {
	s          *system
	user       string
	bySession  *client // ernius
	byPassword *client // ernius
	byToken    *client // ernius, another's token
	airlay     *client // by a session, attached twice
}

func (s *system) connects(user, session string) *loggedIn {
	s.t.Helper()
	announce := func(s *system, header string) *client {
		c := s.dial("/subscribe_to_events", "Authorization: "+header)
		c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":0}`, user))
		s.live(c)
		return c
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+rightPassword))
	l := &loggedIn{
		s: s, user: user,
		bySession:  announce(s, "Bearer "+session),
		byPassword: announce(s.passwords(), basic),
		byToken:    announce(s, "Bearer "+token(s.t, user, time.Hour, nil)),
		airlay:     s.dial("/ws"),
	}
	for _, id := range []string{"1", "2"} {
		l.attach(session, id, airlayOK)
	}
	return l
}

func (l *loggedIn) attach(token, id, answer string) {
	l.s.t.Helper()
	l.airlay.text(fmt.Sprintf(`{"auth":%q,"action":"attach","event":{"type":"issueUpdate","id":%q}}`, token, id))
	l.airlay.expect(opText, answer)
}

// publishTo publishes what every connection of the user gets.
func publishTo(t *testing.T, conn *pgx.Conn, user string) {
	t.Helper()
	exec(t, conn, `SELECT notifier.publish('message', payload => '1', recipient => $1, created_at => to_timestamp(9e9)),
		notifier.publish('issueUpdate', key => '2', payload => '[]')`, user)
}

// gets checks that it has come.
func (l *loggedIn) gets() {
	l.s.t.Helper()
	for _, c := range []*client{l.bySession, l.byPassword, l.byToken} {
		c.expect(opText, fmt.Sprintf(`[{"accessid":%q,"created_at":9000000000,"payload":1}]`, l.user))
	}
	l.airlay.expect(opText, `{"type":"issueUpdate","id":"2","data":[]}`)
}

// end checks that all has ended that rests on the account, told once in each
// protocol's words, and that only the other's token may go on.
func (l *loggedIn) end(session string, stays bool) {
	l.s.t.Helper()
	for _, c := range []*client{l.bySession, l.byPassword} {
		if code, reason := c.expectClose(); code != 1008 || reason != "token expired" {
			l.s.t.Errorf("%s: closed with %d %q", l.user, code, reason)
		}
	}
	l.airlay.expect(opText, airlayInvalid)
	l.attach(session, "1", airlayInvalid)
	after := map[bool]string{true: airlayOK, false: airlayNoUser}[stays]
	l.attach(token(l.s.t, l.user, time.Hour, nil), "1", after)
	if stays {
		l.s.live(l.byToken)
	}
	if status, _, _ := l.s.request("GET", "/clients", "", "Authorization: Bearer "+session); status != 401 {
		l.s.t.Errorf("%s: status %d", l.user, status)
	}
}

// What ends an account's logins ends them on every instance, whichever issued
// the token.
func TestAccounts_EndOnEveryInstance(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, one, two := dbtest.Connect(t, url), closedInstance(t, url), closedInstance(t, url)
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	other, err := auth.HashPassword("another")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sql   string
		stays bool // the user exists still
	}{
		"new password":            {`UPDATE notifier.users SET password_hash = '` + other + `' WHERE user_id = $1`, true},
		"no password":             {`UPDATE notifier.users SET password_hash = NULL WHERE user_id = $1`, true},
		"a role less":             {`UPDATE notifier.users SET roles = '{}' WHERE user_id = $1`, true},
		"disabled":                {`UPDATE notifier.users SET disabled = true WHERE user_id = $1`, false},
		"disabled and back again": {`SELECT pg_temp.flicker($1)`, true},
		"deleted":                 {`DELETE FROM notifier.users WHERE user_id = $1`, false},
	} {
		t.Run(name, func(t *testing.T) {
			user, one, two := name, one.in(t), two.in(t)
			exec(t, conn, `INSERT INTO notifier.users (user_id, password_hash, roles) VALUES ($1, $2, '{publisher}')`, user, hash)
			exec(t, conn, `CREATE OR REPLACE FUNCTION pg_temp.flicker(id text) RETURNS void LANGUAGE plpgsql AS $$
				BEGIN
					UPDATE notifier.users SET disabled = true WHERE user_id = id;
					UPDATE notifier.users SET disabled = false WHERE user_id = id;
				END $$`)
			session := one.logsIn(user, rightPassword)
			here, there := one.connects(user, session), two.connects(user, session)
			exec(t, conn, `UPDATE notifier.users SET roles = roles || '{admin}' WHERE user_id = $1`, user) // takes nothing away
			publishTo(t, conn, user)
			here.gets()
			there.gets()
			exec(t, conn, c.sql, user)
			here.end(session, c.stays)
			there.end(session, c.stays)
		})
	}
}

// An admin's login sees what nobody asks the policy about; it ends no later.
func TestAccounts_AdminSeesNothingAfterTheEnd(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, s := dbtest.Connect(t, url), closedInstance(t, url)
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `INSERT INTO notifier.users (user_id, password_hash, roles) VALUES ('root', $1, '{admin}')`, hash)
	c := s.dial("/subscribe_to_events?token=" + s.logsIn("root", rightPassword))
	c.text(`{"access_id":"somebody","timestamp":0}`)
	s.live(c)
	exec(t, conn, `SELECT notifier.publish('message', payload => '"before"', recipient => 'somebody', created_at => to_timestamp(1))`)
	c.expect(opText, `[{"accessid":"somebody","created_at":1,"payload":"before"}]`)
	exec(t, conn, `WITH gone AS (UPDATE notifier.users SET roles = '{}' WHERE user_id = 'root')
		SELECT notifier.publish('message', payload => '"after"', recipient => 'somebody')`)
	got, err := c.read()
	if err != nil || got.op != opClose {
		t.Errorf("got frame %d %q, %v", got.op, got.payload, err)
	}
}

// A token outlives the instance that issued it.
func TestAccounts_SessionSurvivesARestart(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, s := dbtest.Connect(t, url), closedInstance(t, url)
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	exec(t, conn, `INSERT INTO notifier.users (user_id, password_hash, roles) VALUES ('root', $1, '{admin}')`, hash)
	session := s.logsIn("root", rightPassword)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = closedInstance(t, url)
	if status, _, _ := s.request("GET", "/clients", "", "Authorization: Bearer "+session); status != 200 {
		t.Errorf("status %d", status)
	}
}
