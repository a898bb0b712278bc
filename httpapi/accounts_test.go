package httpapi_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
)

// hashOf hashes a password once for all tests: that is slow on purpose.
var hashOf = sync.OnceValues(func() (string, error) { return auth.HashPassword(rightPassword) })

const rightPassword = "correct horse, é battery"

// account makes one with the right password.
func account(t testing.TB, roles ...string) notifier.Credentials {
	t.Helper()
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	return notifier.Credentials{PasswordHash: hash, Roles: roles, Generation: 1}
}

// from is a request as it comes from an address.
func from(t testing.TB, address string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.RemoteAddr = address
	return r
}

const loopback = "127.0.0.1:5000"

// logsIn has a client on this host log in, and returns its token.
func (s *system) logsIn(user, password string) string {
	s.t.Helper()
	token, _, err := s.server.LogIn(from(s.t, loopback), user, password, time.Hour)
	if err != nil {
		s.t.Fatalf("%s logs in: %v", user, err)
	}
	return token
}

// passwords is the same server, where it also takes passwords in requests.
func (s *system) passwords() *system {
	s.t.Helper()
	web := httptest.NewServer(s.server.TakingPasswords())
	s.t.Cleanup(web.Close)
	other := *s
	other.url, other.addr = web.URL, web.Listener.Addr().String()
	return &other
}

func TestLogIn_ByPassword(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := erniusSystem(t, d)
	d.setAccount("alice", account(t))
	d.setAccount("root", account(t, "admin", "a role of another application"))
	d.setAccount("pusher", account(t, "publisher"))
	d.setAccount("token only", notifier.Credentials{Generation: 1})
	disabled := account(t)
	disabled.Disabled = true
	d.setAccount("gone", disabled)
	for user, may := range map[string][2]int{"alice": {403, 403}, "root": {200, 200}, "pusher": {200, 403}} {
		bearer := "Authorization: Bearer " + s.logsIn(user, rightPassword)
		push, _, _ := s.request("POST", "/push_events", `[]`, bearer, asJSON)
		clients, _, _ := s.request("GET", "/clients", "", bearer)
		if got := [2]int{push, clients}; got != may {
			t.Errorf("%s: push and clients are answered by %v, want %v", user, got, may)
		}
	}
	for _, c := range [][2]string{
		{"alice", "wrong"}, {"alice", ""}, {"alice", rightPassword + " "}, {"alice", strings.Repeat("x", 1<<20)}, {"Alice", rightPassword},
		{"nobody", rightPassword}, {"", rightPassword}, {"a\x00", rightPassword}, {"\xff", rightPassword},
		{"gone", rightPassword}, {"token only", rightPassword}, {"token only", ""},
	} {
		if token, _, err := s.server.LogIn(from(t, loopback), c[0], c[1], time.Hour); !errors.Is(err, httpapi.ErrBadLogin) || token != "" {
			t.Errorf("%.20q with %.20q: %v", c[0], c[1], err)
		}
	}
}

// What can't be looked up is not wrong.
func TestLogIn_WithoutTheDatabase(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := erniusSystem(t, d)
	d.setAccount("alice", account(t, "admin"))
	token := s.logsIn("alice", rightPassword)
	d.store.setFault(errors.New("the database is away"))
	if _, _, err := s.server.LogIn(from(t, loopback), "alice", rightPassword, time.Hour); !errors.Is(err, httpapi.ErrUnavailable) {
		t.Errorf("logs in: %v", err)
	}
	if status, _, text := s.request("GET", "/clients", "", "Authorization: Bearer "+token); status != http.StatusServiceUnavailable || strings.Contains(text, "database") {
		t.Errorf("shows a session: %d %q", status, text)
	}
	if answer, _ := s.handshake("/subscribe_to_events?token=" + token); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("shakes hands: %d", answer.StatusCode)
	}
	d.store.setFault(nil)
	if status, _, _ := s.request("GET", "/clients", "", "Authorization: Bearer "+token); status != http.StatusOK {
		t.Errorf("when it is back: %d", status)
	}
}

// Guessing is slowed down where it comes from; the user is not locked out.
func TestLogIn_SlowsGuessingByUserAndNetwork(t *testing.T) {
	t.Parallel()
	d := newDirectory()
	s := erniusSystem(t, d, func(c *httpapi.Config) { c.PlainPasswords = true })
	d.setAccount("alice", account(t))
	d.setAccount("bob", account(t))
	try := func(address, user, password string) error {
		_, _, err := s.server.LogIn(from(t, address), user, password, time.Hour)
		return err
	}
	for range 5 {
		if err := try("192.0.2.1:1", "alice", "guess"); !errors.Is(err, httpapi.ErrBadLogin) {
			t.Fatal(err)
		}
	}
	for _, address := range []string{"192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:1"} {
		if err, ok := errors.AsType[*auth.ThrottledError](try(address, "alice", rightPassword)); !ok || err.RetryAfter <= 0 {
			t.Errorf("alice from %s: %v", address, err)
		}
	}
	for _, c := range [][2]string{{"192.0.2.2:1", "alice"}, {"[2001:db8::1]:1", "alice"}, {"192.0.2.1:1", "bob"}} {
		if err := try(c[0], c[1], rightPassword); err != nil {
			t.Errorf("%s from %s: %v", c[1], c[0], err)
		}
	}
}

// Over plain HTTP a password is taken from this host only, or if the operator
// says so; else it is not even looked at.
func TestLogIn_PlainHTTP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		address    string
		tls, plain bool
		taken      bool
	}{
		{address: loopback, taken: true},
		{address: "[::1]:1", taken: true},
		{address: "[::ffff:127.0.0.1]:1", taken: true},
		{address: "192.0.2.1:1"},
		{address: "[2001:db8::1]:1"},
		{address: "[fe80::1%eth0]:1"},
		{address: "pipe"},
		{address: ""},
		{address: "192.0.2.1:1", tls: true, taken: true},
		{address: "192.0.2.1:1", plain: true, taken: true},
	} {
		d := newDirectory()
		s := erniusSystem(t, d, func(config *httpapi.Config) { config.PlainPasswords = c.plain })
		d.setAccount("alice", account(t))
		r := from(t, c.address)
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		for password, want := range map[string]error{rightPassword: nil, "wrong": httpapi.ErrBadLogin} {
			if !c.taken {
				want = httpapi.ErrPlainPassword
			}
			if _, _, err := s.server.LogIn(r, "alice", password, time.Hour); !errors.Is(err, want) {
				t.Errorf("%+v, %s: %v, want %v", c, password, err, want)
			}
		}
	}
}

// Only who has logged in gets a token, which has no more rights than the account.
func TestSession_OnlyForAccounts(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := erniusSystem(t, d)
	d.setAccount("alice", account(t, "admin"))
	if _, _, err := s.server.Reopen(t.Context(), token(t, "alice", time.Hour, nil), time.Hour); !errors.Is(err, httpapi.ErrNoAccount) {
		t.Errorf("for another's token: %v", err)
	}
	first := s.logsIn("alice", rightPassword)
	second, expires, err := s.server.Reopen(t.Context(), first, 2*time.Hour)
	if left := time.Until(expires); err != nil || left > 2*time.Hour || left < 2*time.Hour-time.Minute || expires.Nanosecond() != 0 {
		t.Errorf("by a session: %v, ends in %v", err, left)
	}
	if status, _, _ := s.request("GET", "/clients?token="+second, ""); status != http.StatusOK {
		t.Errorf("the second session: %d", status)
	}
	changed := account(t)
	changed.Generation = 2
	d.setAccount("alice", changed)
	for _, token := range []string{first, second} {
		if _, _, err := s.server.Reopen(t.Context(), token, time.Hour); err == nil {
			t.Error("a session that has ended makes another")
		}
	}
}

// Where nothing needs to be shown, clients that must have a token get one, which
// is worth nothing where that is not so.
func TestSession_ForNobody(t *testing.T) {
	t.Parallel()
	key := make([]byte, auth.KeySize)
	open := setup(t, func(c *httpapi.Config) { c.SessionKey = key })
	closed := erniusSystem(t, newDirectory("anonymous"), func(c *httpapi.Config) { c.SessionKey = key })
	token, _, err := open.server.Reopen(t.Context(), "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[*system]int{open: 200, closed: 401} {
		if status, _, _ := s.request("GET", "/clients", "", "Authorization: Bearer "+token); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
	again, _, err := open.server.Reopen(t.Context(), token, time.Hour)
	if err != nil || !auth.IsSession(again) {
		t.Errorf("once more: %v", err)
	}
}

// A session counts wherever a token does, and ends what rests on it when it
// expires; a newer one of the same user puts that off.
func TestSession_ExpiryAndRenewal(t *testing.T) {
	onTokensTime(t, []string{"alice"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount("alice", account(t))
		c := p.dialWith(s, "/subscribe_to_events", "Authorization: Bearer "+s.logsIn("alice", rightPassword))
		c.text(`{"access_id":"alice","timestamp":0}`)
		airlay := p.dialWith(s, "/ws")
		airlay.text(fmt.Sprintf(`{"auth":%q,"action":"attach","event":{"type":"issueUpdate","id":"1"}}`, s.logsIn("alice", rightPassword)))
		airlay.expect(opText, airlayOK)
		began := time.Now()
		<-time.After(50 * time.Minute) // fake
		c.text(fmt.Sprintf(`{"auth":%q}`, s.logsIn("alice", rightPassword)))
		airlay.expect(opText, airlayInvalid)
		if after := time.Since(began); after < time.Hour-time.Second || after > time.Hour {
			t.Errorf("the older session ended after %v", after)
		}
		d.publish(t, event("alice", 1, `"x"`))
		c.expect(opText, `[{"accessid":"alice","created_at":1,"payload":"x"}]`)
		if code, reason := c.expectClose(); code != 1008 || reason != "token expired" {
			t.Errorf("closed with %d %q", code, reason)
		}
		if after := time.Since(began); after < 110*time.Minute-time.Second || after > 110*time.Minute {
			t.Errorf("the newer session ended after %v", after)
		}
	})
}

// No word of a password or a token gets into the log, whatever becomes of it.
func TestAccounts_TellNothing(t *testing.T) {
	t.Parallel()
	said := &spoken{}
	d := newDirectory("alice")
	s := setup(t, said.listen, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.PlainPasswords = true })
	d.setAccount("alice", account(t))
	token := s.logsIn("alice", rightPassword)
	basic := base64.StdEncoding.EncodeToString([]byte("alice:" + rightPassword))
	secrets := []string{rightPassword, "hunter2", token, token[:20], basic}
	for range 7 { // to be throttled, in the end
		_, _, _ = s.server.LogIn(from(t, loopback), "hunter2", "hunter2", time.Hour)
	}
	s.passwords().request("GET", "/clients", "", "Authorization: Basic "+basic)
	s.request("GET", "/clients?token="+token, "")
	s.request("GET", "/clients?token="+token+"x", "")
	c := s.dial("/subscribe_to_events", "Authorization: Bearer "+token)
	c.text(`{"access_id":"alice","timestamp":0}`)
	s.live(c)
	next := account(t)
	next.Generation = 2
	d.setAccount("alice", next)
	user := "alice"
	d.control(&notifier.Event{Control: notifier.ControlAccessChanged, Recipient: &user})
	c.expectClose()
	s.request("GET", "/clients?token="+token, "")
	d.store.setFault(errors.New("away"))
	_, _, _ = s.server.LogIn(from(t, loopback), "alice", rightPassword, time.Hour)
	s.request("GET", "/clients?token="+token, "")
	text := said.String()
	for _, want := range []string{"wrong user or password", "throttled", "the account has changed", "login failed"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing is said of %q", want)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the log contains %q:\n%s", secret, text)
		}
	}
}

// A login that has ended since the handshake is good for nothing that is asked
// for then, not even an admin's, whom the policy is not asked about.
func TestSession_EndedSinceTheHandshake(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := erniusSystem(t, d)
	for _, roles := range [][]string{nil, {"admin"}} {
		for name, end := range map[string]func(*notifier.Credentials){
			"another generation": func(c *notifier.Credentials) { c.Generation = 2 },
			"disabled":           func(c *notifier.Credentials) { c.Disabled = true },
			"as it was":          func(*notifier.Credentials) {},
		} {
			now := account(t, roles...)
			d.setAccount("alice", now)
			bearer := "Authorization: Bearer " + s.logsIn("alice", rightPassword)
			basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+rightPassword))
			clients := []*client{s.dial("/subscribe_to_events", bearer), s.passwords().dial("/subscribe_to_events", basic)}
			end(&now)
			d.setAccount("alice", now)
			for _, c := range clients {
				c.text(`{"access_id":"alice","timestamp":0}`)
				if name == "as it was" {
					s.live(c)
				} else {
					c.refused("invalid token")
				}
			}
		}
	}
}
