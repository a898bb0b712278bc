package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
)

func basicAuth(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// fetches gets a token as DRP's client does.
func (s *system) fetches(user, query, authorization string) string {
	s.t.Helper()
	status, header, body := s.request("GET", "/api/v3/users/"+url.PathEscape(user)+"/token"+query, "", authorization)
	var said struct {
		Token string
		Info  map[string]any
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != 200 || said.Token == "" || said.Info == nil ||
		header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("token of %s: %d %v %.40q", user, status, header, body)
	}
	return said.Token
}

// drpcli's way: a token for the password, a longer one for that, then the
// socket; or the password everywhere.
func TestDRP_TokenForAPassword(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice:b", "alice", "ünï/cöde", "100%", "a%41", "a/%41")
	s := drpSystem(t, d)
	for _, user := range []string{"alice", "ünï/cöde", "100%", "a%41", "a/%41"} {
		d.setAccount(user, account(t, "publisher"))
		first := s.fetches(user, "", basicAuth(user, rightPassword))
		second := s.fetches(user, "?ttl=7200", bearer(first))
		ways := map[string]func(path string) (string, []string){
			"bearer":         func(path string) (string, []string) { return path, []string{bearer(second)} },
			"basic":          func(path string) (string, []string) { return path, []string{basicAuth(user, rightPassword)} },
			"token in query": func(path string) (string, []string) { return path + "?token=" + second, nil },
			"password in query": func(path string) (string, []string) {
				return path + "?token=" + url.QueryEscape(user+":"+rightPassword), nil
			},
			"document's query": func(path string) (string, []string) {
				return path + "?Token=" + url.QueryEscape(user+":"+rightPassword), nil
			},
		}
		for name, way := range ways {
			path, headers := way(drpPath)
			c := &drpClient{s.dial(path, headers...)}
			c.do("register", "beeblebrox.*.*")
			path, headers = way(eventsPath)
			status, _, body := s.request("POST", path, `{"Type":"beeblebrox","Time":"2026-01-02T03:04:05Z"}`, append(headers, asJSON)...)
			if status != 204 {
				t.Fatalf("%s by %s: %d %s", user, name, status, body)
			}
			c.expect(opText, `{"Time":"2026-01-02T03:04:05Z","Type":"beeblebrox","Action":"","Key":"","Principal":"user:`+user+`","Object":null,"Original":null}`)
			c.do("deregister", "beeblebrox.*.*")
		}
	}
}

func TestDRP_PasswordWithColons(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	d.setAccount("alice", account(t))
	for _, header := range []string{basicAuth("alice", ":"+rightPassword), basicAuth("", "alice:"+rightPassword), basicAuth("alice", "wrong"), basicAuth("nobody", rightPassword)} {
		if answer := s.drpUpgrade(drpPath, header); answer.StatusCode != 403 || answer.ContentLength != 0 {
			t.Errorf("%d, %d bytes", answer.StatusCode, answer.ContentLength)
		}
	}
}

// What may be asked of the token endpoint, and what not.
func TestDRP_TokenRefused(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := drpSystem(t, d)
	d.setAccount("alice", account(t, "publisher"))
	d.setAccount("bob", account(t))
	d.setAccount("root", account(t, "admin"))
	alice, root := s.logsIn("alice", rightPassword), s.logsIn("root", rightPassword)
	const notYou = "no such user, or not the one who asks"
	const allRoles = `roles: a token has all of its user's, which are \"publisher\"`
	for _, c := range []struct {
		token, user, query string
		status             int
		message            string
	}{
		{alice, "bob", "", 404, notYou}, {alice, "nobody", "", 404, notYou}, {root, "alice", "", 404, notYou}, {alice, "Alice", "", 404, notYou},
		{alice, "alice", "?ttl=x", 400, "ttl is not a number of seconds"}, {alice, "alice", "?ttl=", 400, "ttl is not a number of seconds"},
		{alice, "alice", "?ttl=0", 400, "ttl is not a number of seconds"}, {alice, "alice", "?ttl=-5", 400, "ttl is not a number of seconds"},
		{alice, "alice", "?ttl=99999999999999999999", 400, "ttl is not a number of seconds"},
		{alice, "alice", "?roles=admin", 400, allRoles}, {alice, "alice", "?roles=publisher,admin", 400, allRoles},
		{alice, "alice", "?roles=superuser", 400, `role \"superuser\" is neither \"publisher\" nor \"admin\"`},
		{token(t, "alice", time.Hour, nil), "alice", "", 403, "only who has logged in gets a token"},
	} {
		path := "/api/v3/users/" + c.user + "/token"
		status, _, body := s.request("GET", path+c.query, "", bearer(c.token))
		if want := strings.Replace(drpErrorBody("GET", path, "?", c.status), "?", c.message, 1); status != c.status || body != want {
			t.Errorf("%s%s: %d %s, want %s", path, c.query, status, body, want)
		}
	}
	for _, query := range []string{"?ttl=1", "?ttl=9223372036854775807", "?roles=", "?roles=publisher", "?roles=%20publisher%20,", "?ttl=600&roles=publisher"} {
		s.fetches("alice", query, bearer(alice))
	}
	d.setFault(errors.New("away"))
	if status, _, body := s.request("GET", "/api/v3/users/alice/token", "", bearer(alice)); status != 503 || strings.Contains(body, "away") {
		t.Errorf("without the database: %d %s", status, body)
	}
}

// A password is not for everybody to read, and guessing is slowed down: these
// are told more than a plain refusal.
func TestDRP_PasswordsNotTaken(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	d.setAccount("alice", account(t))
	ask := func(address, password string) *httptest.ResponseRecorder {
		r := from(t, address)
		r.URL.Path = "/api/v3/info"
		r.SetBasicAuth("alice", password)
		w := httptest.NewRecorder()
		s.server.Handler().ServeHTTP(w, r)
		return w
	}
	plain := drpErrorBody("GET", "/api/v3/info", "a password is taken only over TLS or from this host", 403)
	if w := ask("192.0.2.1:1", rightPassword); w.Code != 403 || w.Body.String() != plain {
		t.Errorf("over plain HTTP: %d %s", w.Code, w.Body)
	}
	for range 5 {
		if w := ask(loopback, "guess"); w.Code != 403 || w.Body.Len() > 0 {
			t.Errorf("a guess: %d %s", w.Code, w.Body)
		}
	}
	if w := ask(loopback, "guess"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"Code":429`) {
		t.Errorf("one guess more: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// In anonymous mode who shows nothing gets a token too, and can use it.
func TestDRP_TokenForNobody(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, path := range []string{"/api/v3/users/alice/token", "/api/v3/users/anonymous/token"} {
		status, _, body := s.request("GET", path, "")
		if want := map[bool]int{true: 200, false: 404}[strings.Contains(path, "anonymous")]; status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, _, body := s.request("GET", "/api/v3/users/anonymous/token", "")
	var said struct{ Token string }
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatal(err)
	}
	(&drpClient{s.dial(drpPath, bearer(said.Token))}).do("register", "*.*.*")
}

// renews has a user fetch a token at a time when no socket can be had for it.
func (s *system) renews(user, token string, ttl time.Duration) {
	s.t.Helper()
	r := from(s.t, loopback)
	r.URL.Path = "/api/v3/users/" + user + "/token"
	r.URL.RawQuery = fmt.Sprintf("ttl=%d", ttl/time.Second)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		s.t.Fatalf("renewal: %d %s", w.Code, w.Body)
	}
}

// A token that the user fetches renews all its sockets that rest on a login,
// also one without a filter, and nobody else's; again and again.
func TestDRP_FetchedTokenRenews(t *testing.T) {
	account(t) // its hash is not made on fake time
	onTokensTime(t, []string{"alice", "bob"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount("alice", account(t))
		d.setAccount("bob", account(t))
		began := time.Now()
		alice := s.logsIn("alice", rightPassword)
		sockets := map[string]*drpClient{}
		for name, token := range map[string]string{"one": alice, "two": alice, "bob": s.logsIn("bob", rightPassword), "foreign": token(t, "alice", time.Hour, nil)} {
			sockets[name] = &drpClient{p.dialWith(s, drpPath, bearer(token))}
		}
		sockets["one"].do("register", "*.*.*")
		ended := func(name string, after time.Duration) {
			t.Helper()
			if code, reason := sockets[name].expectClose(); code != 1008 || reason != "token expired" {
				t.Errorf("%s closed with %d %q", name, code, reason)
			}
			if took := time.Since(began); took > after || took < after-time.Second {
				t.Errorf("%s ended after %v, not %v", name, took, after)
			}
		}
		<-time.After(50 * time.Minute) // fake
		s.renews("alice", alice, 30*time.Minute)
		s.renews("alice", alice, time.Minute) // an earlier end counts for nothing
		ended("bob", time.Hour)
		ended("foreign", time.Hour)
		e, message := machine("save", "1")
		d.publish(t, e)
		sockets["one"].expect(opText, message)
		sockets["two"].do("register", "machines.*.*")
		<-time.After(15 * time.Minute)
		token := s.logsIn("alice", rightPassword)
		s.renews("alice", token, 2*time.Hour)
		<-time.After(30 * time.Minute)
		d.publish(t, e)
		sockets["one"].expect(opText, message)
		sockets["two"].expect(opText, message)
		ended("one", 195*time.Minute)
		ended("two", 195*time.Minute)
	})
}

// Whether there is a newer token can't be known while the database is away: the
// client is to try again, and not to think that its token was refused.
func TestDRP_RenewalThatCannotBeKnown(t *testing.T) {
	account(t) // its hash is not made on fake time
	onTokensTime(t, []string{"alice"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.setAccount("alice", account(t))
		c := p.dialWith(s, drpPath, bearer(s.logsIn("alice", rightPassword)))
		d.failSessions(errors.New("the database is away"))
		if code, reason := c.expectClose(); code != 1013 || reason != "not available now: try again" {
			t.Errorf("closed with %d %q", code, reason)
		}
	})
}

// A token that is fetched at one instance renews a socket at another; a new
// password ends it there.
func TestDRP_EndToEnd_AtAnotherInstance(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	users, err := db.Open(t.Context(), db.Config{URL: url, ListenURL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	hash := account(t).PasswordHash
	if err := users.CreateUser(t.Context(), "alice", hash, []string{"publisher"}, "test"); err != nil {
		t.Fatal(err)
	}
	closed := func(c *httpapi.Config) { c.Anonymous = false }
	here, there := instance(t, url, closed), instance(t, url, closed)
	brief := here.fetches("alice", "?ttl=2", basicAuth("alice", rightPassword))
	c := there.drp(brief)
	c.do("register", "*.*.*")
	long := here.fetches("alice", "?ttl=3600", bearer(brief))
	until(t, "the first token has expired", func() bool {
		status, _, _ := there.request("GET", "/api/v3/info", "", bearer(brief))
		return status == 403
	})
	post := func(key string) {
		t.Helper()
		status, _, body := here.request("POST", eventsPath, fmt.Sprintf(`{"Type":"machines","Action":"save","Key":%q,"Time":"2026-01-02T03:04:05.123456Z","Object":{"b" : 1}}`, key), bearer(long), asJSON)
		if status != 204 {
			t.Fatalf("%d %s", status, body)
		}
	}
	for i := range 3 {
		c.do("register", fmt.Sprintf("machines.%d.*", i)) // it is alive, and known
		post(fmt.Sprint(i))
		c.expect(opText, fmt.Sprintf(`{"Time":"2026-01-02T03:04:05.123456Z","Type":"machines","Action":"save","Key":"%d","Principal":"user:alice","Object":{"b" : 1},"Original":null}`, i))
	}
	if err := users.SetPassword(t.Context(), "alice", "", "test"); err != nil {
		t.Fatal(err)
	}
	if code, reason := c.expectClose(); code != 1008 || reason != "token expired" {
		t.Errorf("closed with %d %q", code, reason)
	}
	for _, s := range []*system{here, there} {
		if answer := s.drpUpgrade(drpPath, bearer(long)); answer.StatusCode != 403 {
			t.Errorf("the token of the older password: %d", answer.StatusCode)
		}
	}
}
