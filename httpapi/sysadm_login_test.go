package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
)

// sysadmAuth is the request by which the Qt client logs in.
func sysadmAuth(user, password string) string {
	return fmt.Sprintf(`{"args":{"password":%q,"username":%q},"id":"auth","name":"auth","namespace":"rpc"}`, password, user)
}

// logsIn logs in by password and returns the token.
func (c *sysadmClient) logsIn(user, password string) string {
	c.t.Helper()
	return c.session(sysadmAuth(user, password))
}

// session sends a request with the id auth that opens a session, and returns its
// token.
func (c *sysadmClient) session(request string) (token string) {
	c.t.Helper()
	c.text(request)
	got, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	var answer struct{ Args []any }
	if err := json.Unmarshal([]byte(got.payload), &answer); err != nil || len(answer.Args) != 2 {
		c.t.Fatalf("%s: %v", got.payload, err)
	}
	token, _ = answer.Args[0].(string)
	left, _ := answer.Args[1].(float64)
	if want := fmt.Sprintf(`{"args":["%s",%v],"id":"auth","name":"response","namespace":"rpc"}`, token, left); got.payload != want || left < 899 || left > 900 || !auth.IsSession(token) {
		c.t.Fatalf("got %s", got.payload)
	}
	return token
}

// By a password, wherever the token then goes: another connection, a header, a
// query. An account's roles count.
func TestSysadm_PasswordAndToken(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	d.setAccount(sysadmUser, account(t))
	d.setAccount("root", account(t, "admin"))
	s := sysadmSystem(t, d)
	c := s.sysadm("")
	shown := c.logsIn(sysadmUser, rightPassword)
	root := s.sysadm("")
	root.logsIn("root", rightPassword)
	second := s.sysadm("")
	if next := second.session(`{"namespace":"rpc","name":"auth_token","id":"auth","args":{"token":"` + shown + `"}}`); next == "" {
		t.Error("no token")
	}
	all := []*sysadmClient{c, second, {s.dial("/sysadm", "Authorization: Bearer "+shown)}, {s.dial("/?token=" + shown)}}
	for _, client := range append(all, root) {
		client.subscribe("dispatcher")
	}
	d.publish(t, toUser("other", ofType("dispatcher", "1")), toUser(sysadmUser, ofType("dispatcher", "2")))
	root.expect(opText, sysadmMessage("dispatcher", "1"))
	for _, client := range append(all, root) {
		client.expect(opText, sysadmMessage("dispatcher", "2"))
	}
	for _, login := range []string{sysadmAuth(sysadmUser, "wrong"), sysadmAuth(sysadmUser, ""), sysadmAuth("nobody", rightPassword), sysadmAuth("", "")} {
		c.ask(login, fmt.Sprintf(sysadmUnauthorized, "auth"))
		c.ask(`{"namespace":"rpc","name":"query","id":"a"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
	}
	d.publish(t, ofType("dispatcher", "3"))
	second.expect(opText, sysadmMessage("dispatcher", "3"))
	c.quiet()
}

// What sendwebsocket.js does: it logs in and asks in one go, drops the first
// answer and takes the second for its own.
func TestSysadm_LogInAndAskInOneGo(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	d.setAccount(sysadmUser, account(t))
	c := sysadmSystem(t, d).sysadm("")
	request := `{ "namespace":"rpc", "name":"query", "id":"fooid", "args":{} }`
	if _, err := c.Write(append(masked(0x80|opText, sysadmAuth(sysadmUser, rightPassword)), masked(0x80|opText, request)...)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.read(); err != nil || !strings.HasPrefix(got.payload, `{"args":["`) {
		t.Fatalf("%v: %v", got, err)
	}
	c.expect(opText, `{"args":{},"id":"fooid","name":"response","namespace":"rpc"}`)
}

// Who guesses is sent away with the real server's words. Others at the same
// place are not, nor is the user who is known there.
func TestSysadm_Guessing(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser, "other")
	d.setAccount(sysadmUser, account(t))
	d.setAccount("other", account(t))
	said := &spoken{}
	s := sysadmSystem(t, d, said.listen)
	c := s.sysadm("")
	for range 5 {
		c.ask(sysadmAuth(sysadmUser, "hunter2"), fmt.Sprintf(sysadmUnauthorized, "auth"))
	}
	c.ask(sysadmAuth(sysadmUser, rightPassword), fmt.Sprintf(sysadmForbidden, "auth"))
	if code, reason := c.expectClose(); code != 1000 || reason != "Too Many Authorization Failures - Try again later" {
		t.Errorf("closed with %d %q", code, reason)
	}
	token := s.sysadm("").logsIn("other", rightPassword)
	if text := said.String(); strings.Contains(text, "hunter2") || strings.Contains(text, rightPassword) || strings.Contains(text, token) {
		t.Error("the log has a secret:", text)
	}
}

// A password that others could have read on its way is not looked at.
func TestSysadm_PasswordInPlain(t *testing.T) {
	onTokensTime(t, []string{sysadmUser}, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount(sysadmUser, account(t))
		c := &sysadmClient{p.dialWith(s, "/")} // from no address of this host
		c.ask(sysadmAuth(sysadmUser, rightPassword), fmt.Sprintf(sysadmUnauthorized, "auth"))
		c.quiet()
		_ = c.Close()
	})
}

// With another password, what rests on the old one ends at once, without a word;
// the next request is told.
func TestSysadm_AccountChanges(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	d.setAccount(sysadmUser, account(t))
	s := sysadmSystem(t, d)
	c := s.sysadm("")
	shown := c.logsIn(sysadmUser, rightPassword)
	c.subscribe("dispatcher")
	next := account(t)
	next.Generation = 2
	d.setAccount(sysadmUser, next)
	user := sysadmUser
	d.control(&notifier.Event{Control: notifier.ControlAccessChanged, Recipient: &user})
	d.publish(t, ofType("dispatcher", "1"))
	c.quiet()
	c.ask(`{"namespace":"events","name":"subscribe","id":"a","args":"dispatcher"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
	c.ask(`{"namespace":"rpc","name":"auth_token","id":"a","args":{"token":"`+shown+`"}}`, fmt.Sprintf(sysadmUnauthorized, "a"))
	c.logsIn(sysadmUser, rightPassword)
	c.subscribe("dispatcher")
}

// In anonymous mode anybody is let in by any password, and the token that one
// gets is good for as long as the mode lasts.
func TestSysadm_AnonymousLogin(t *testing.T) {
	t.Parallel()
	s := setup(t)
	shown := s.sysadm("").logsIn("somebody", "anything")
	c := s.sysadm("")
	c.session(`{"namespace":"rpc","name":"auth_token","id":"auth","args":{"token":"` + shown + `"}}`)
	c.subscribe("dispatcher")
	s.push(ofType("dispatcher", "1"))
	c.expect(opText, sysadmMessage("dispatcher", "1"))
}

// Over a database: whoever has logged in at one instance is known at another, and
// at one that has been started since, where what was stored before is still the
// newest.
func TestSysadm_EveryInstance(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	guarded := func(c *httpapi.Config) { c.Anonymous = false }
	one := instance(t, url, guarded)
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	if err := d.CreateUser(t.Context(), sysadmUser, hash, nil, ""); err != nil {
		t.Fatal(err)
	}
	publish := func(payload string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `INSERT INTO notifier.events (type, payload) VALUES ('system-state', $1)`, payload); err != nil {
			t.Fatal(err)
		}
	}
	c := one.sysadm("")
	shown := c.logsIn(sysadmUser, rightPassword)
	c.subscribe("system-state")
	publish(`{"priority" : "1 - Information"}`)
	c.expect(opText, sysadmMessage("system-state", `{"priority" : "1 - Information"}`))
	others := []*sysadmClient{c}
	for range 2 {
		c := instance(t, url, guarded).sysadm("")
		shown = c.session(`{"namespace":"rpc","name":"auth_token","id":"auth","args":{"token":"` + shown + `"}}`)
		c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
		c.expect(opText, sysadmMessage("system-state", `{"priority" : "1 - Information"}`))
		c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"s","name":"response","namespace":"events"}`)
		others = append(others, c)
	}
	publish("2")
	for _, c := range others {
		c.expect(opText, sysadmMessage("system-state", "2"))
	}
	if err := d.SetDisabled(t.Context(), sysadmUser, true, ""); err != nil {
		t.Fatal(err)
	}
	publish("3")
	for _, c := range others {
		c.ask(`{"namespace":"rpc","name":"query","id":"a"}`, fmt.Sprintf(sysadmUnauthorized, "a"))
	}
}

// Whoever subscribes while events are being published gets the newest of those
// that are stored and then all that follow, none twice.
func TestSysadm_NewestThenLiveWithoutASeam(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	s, conn := instance(t, url), dbtest.Connect(t, url)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	writing.Go(func() { // ends when all have seen enough
		for i := 1; ctx.Err() == nil; i++ {
			if _, err := conn.Exec(t.Context(), `INSERT INTO notifier.events (type, payload) VALUES ('system-state', to_json($1::int))`, i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	payload := func(c *sysadmClient) (n int, reply bool) {
		got, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(got.payload, `{"args":%d,"id":"","name":"system-state"`, &n); err != nil {
			return 0, true
		}
		return n, false
	}
	for range 100 {
		c := s.sysadm("")
		c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
		last, none := payload(c)
		if !none {
			if n, reply := payload(c); !reply {
				t.Fatalf("before the answer come %d and %d", last, n)
			}
		}
		for range 5 {
			n, _ := payload(c)
			if n != last+1 {
				t.Fatalf("after %d comes %d", last, n)
			}
			last = n
		}
		_ = c.Close()
	}
}
