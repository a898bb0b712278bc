package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// Each reason is counted where it is met, by requests, handshakes and messages.
func TestRefusals_AreCountedByReason(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	d.setAccount("alice", account(t))
	s := setup(t, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.MaxSubscriptions = 1 })
	alice, nobody := token(t, "alice", time.Hour, nil), token(t, "nobody", time.Hour, nil)
	message := func(path, text string) func() {
		return func() {
			c := s.dial(path)
			c.text(text)
			if _, err := c.read(); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	request := func(method, path string, headers ...string) func() {
		return func() { s.request(method, path, "[]", append(headers, asJSON)...) }
	}
	basic := func(user, password string) string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	for _, step := range []struct {
		name   string
		do     func()
		reason httpapi.Refusal
	}{
		{"push without a token", request("POST", "/push_events"), httpapi.RefusedNoToken},
		{"push with a bad one", request("POST", "/push_events", "Authorization: Bearer x"), httpapi.RefusedBadToken},
		{"push as a reader", request("POST", "/push_events", "Authorization: Bearer "+alice), httpapi.RefusedNoRole},
		{"DRP's push as a reader", request("POST", "/api/v3/events", "Authorization: Bearer "+alice), httpapi.RefusedNoRole},
		{"handshake with a bad token", func() { s.tryDial("/ws", "Authorization: Bearer x") }, httpapi.RefusedBadToken},
		{"DRP's handshake without any", func() { s.tryDial(drpPath) }, httpapi.RefusedNoToken},
		{"DRP's handshake of nobody", func() { s.tryDial(drpPath, "Authorization: Bearer "+nobody) }, httpapi.RefusedNoUser},
		{"a wrong password", request("GET", "/api/v3/users/alice/token", basic("alice", "wrong")), httpapi.RefusedBadLogin},
		{"message without a token", message("/ws", airlayRequest("", "attach", "issueUpdate", "1")), httpapi.RefusedNoToken},
		{"message with a bad one", message("/ws", airlayRequest("x", "attach", "issueUpdate", "1")), httpapi.RefusedBadToken},
		{"message of nobody", message("/ws", airlayRequest(nobody, "attach", "issueUpdate", "1")), httpapi.RefusedNoUser},
		{"no access", message("/ws", airlayRequest(alice, "attach", "datasetUpdate", "1")), httpapi.RefusedNoAccess},
		{"too much", message("/ws", airlayRequest(alice, "attach", "issueUpdate", strings.Repeat("x", 200))), httpapi.RefusedSubscriptions},
		{"somebody else", message("/subscribe_to_events", fmt.Sprintf(`{"access_id":"bob","timestamp":0,"auth":%q}`, alice)), httpapi.RefusedNotYou},
	} {
		before := s.server.Refusals()
		step.do()
		for reason, number := range s.server.Refusals() {
			want := before[reason]
			if reason == step.reason {
				want++
			}
			if number != want {
				t.Errorf("%s: %s counts %d, want %d", step.name, reason, number, want)
			}
		}
	}
}

func TestRefusals_OfAnonymousMode(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.request("GET", "/livez", "", "Host: evil.example")
	s.tryDial("/ws", "Origin: http://evil.example")
	if got := s.server.Refusals(); got[httpapi.RefusedHost] != 1 || got[httpapi.RefusedOrigin] != 1 {
		t.Errorf("counted %v", got)
	}
}

// Before the server follows the log, nobody can subscribe.
func TestRefusals_WhileStarting(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.Hub = notifier.NewHub(notifier.HubConfig{}) })
	for _, path := range []string{"/ws", drpPath} {
		s.turnedAway(httpapi.RefusedStarting, http.StatusServiceUnavailable, path)
	}
}

// An operator hears of a limit that is met, and not once for every client of a
// flood.
func TestRefusals_AFloodIsNotOneOfWarnings(t *testing.T) {
	t.Parallel()
	log := &spoken{}
	s := setup(t, log.listen, func(c *httpapi.Config) { c.MaxConnections = 1 })
	s.dial("/ws")
	for range 20 {
		s.tryDial("/ws")
	}
	warnings := 0
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "msg=refused reason=max_connections so_far=1 ") {
			warnings++
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings:\n%s", warnings, log)
	}
}

func TestRefusals_OfPasswords(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	d.setAccount("alice", account(t))
	s := setup(t, guarded(t, d, bySecret()))
	logIn := func(address string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v3/users/alice/token", nil)
		r.RemoteAddr = address
		r.SetBasicAuth("alice", "wrong")
		s.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	logIn("192.0.2.1:1")
	for range 100 {
		logIn(loopback)
	}
	got := s.server.Refusals()
	if got[httpapi.RefusedPlainPassword] != 1 || got[httpapi.RefusedThrottled] == 0 ||
		got[httpapi.RefusedBadLogin]+got[httpapi.RefusedThrottled] != 100 {
		t.Errorf("counted %v", got)
	}
}
