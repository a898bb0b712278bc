package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const eventsPath = "/api/v3/events"

func bearer(token string) string { return "Authorization: Bearer " + token }

// drpErrorBody is what the real server says, with its keys in order.
func drpErrorBody(method, path, message string, code int) string {
	return fmt.Sprintf(`{"Model":"","Key":%q,"Type":%q,"Messages":[%q],"Code":%d}`, path, method, message, code)
}

// drpUpgrade has a WebSocket ask for a path and returns the answer to that.
func (s *system) drpUpgrade(path string, headers ...string) *http.Response {
	s.t.Helper()
	answer, c := s.handshake(path, headers...)
	_ = c.Close()
	return answer
}

// Each form in which a credential can come, on each route, and what becomes of
// it before anything else.
func TestDRP_Credentials(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	good, expired := token(t, "alice", time.Hour, withRoles("publisher")), token(t, "alice", -time.Hour, nil)
	basic := func(text string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
	}
	for name, c := range map[string]struct {
		query   string
		headers []string
		status  int // 0: let in
	}{
		"header":                       {"", []string{bearer(good)}, 0},
		"header, another spelling":     {"", []string{"authorization: bearer " + good}, 0},
		"query":                        {"?token=" + good, nil, 0},
		"query of the document":        {"?Token=" + good, nil, 0},
		"query, and a bad other":       {"?Token=x&token=" + good, nil, 0},
		"header wins":                  {"?token=" + expired, []string{bearer(good)}, 0},
		"header wins, if it is bad":    {"?token=" + good, []string{bearer(expired)}, 403},
		"header wins, if it is broken": {"?token=" + good, []string{"Authorization: Bearer"}, 401},
		"nothing":                      {"", nil, 401},
		"empty query":                  {"?token=", nil, 401},
		"another parameter":            {"?TOKEN=" + good, nil, 401},
		"no scheme":                    {"", []string{"Authorization: " + good}, 401},
		"another scheme":               {"", []string{"Authorization: Digest " + good}, 401},
		"basic that is none":           {"", []string{"Authorization: Basic !"}, 401},
		"basic without a colon":        {"", []string{basic("alice")}, 401},
		"two headers":                  {"", []string{bearer(good), bearer(good)}, 401},
		"expired":                      {"", []string{bearer(expired)}, 403},
		"no token":                     {"", []string{bearer("x")}, 403},
		"expired in the query":         {"?token=" + expired, nil, 403},
		"unknown user":                 {"", []string{basic("nobody:" + good)}, 403},
		"unknown user in the query":    {"?token=nobody_else:" + good, nil, 403},
		"a colon in the header":        {"", []string{bearer("alice:" + good)}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			answers := map[string]*http.Response{"ws": s.drpUpgrade(drpPath+c.query, c.headers...)}
			for _, route := range []string{"GET /api/v3/info", "HEAD /api/v3/info", "POST " + eventsPath} {
				method, path, _ := strings.Cut(route, " ")
				status, header, body := s.request(method, path+c.query, "", append(c.headers, asJSON)...)
				answers[route] = &http.Response{StatusCode: status, Header: header}
				if c.status != 0 && body != "" {
					t.Errorf("%s: the refusal says %q", route, body)
				}
			}
			for route, answer := range answers {
				want := map[string]int{"ws": 101, "POST " + eventsPath: 204}[route]
				if c.status != 0 {
					want = c.status
				} else if want == 0 {
					want = 200
				}
				challenge := ""
				if want == 401 {
					challenge = "dr-provision"
				}
				if got := answer.Header.Get("WWW-Authenticate"); answer.StatusCode != want || got != challenge {
					t.Errorf("%s: %d with the challenge %q, want %d", route, answer.StatusCode, got, want)
				}
			}
		})
	}
}

// Without tokens everybody is let in, but a token that is shown is checked.
// drpcli can't do without a name and a password: any will do.
func TestDRP_Anonymously(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d, func(c *httpapi.Config) { c.Anonymous = true })
	c := &drpClient{s.dial(drpPath)}
	c.do("register", "*.*.*")
	status, _, _ := s.request("POST", eventsPath, `{"Type":"a","Time":"2026-01-02T03:04:05Z"}`, asJSON)
	if status != 204 {
		t.Errorf("post: %d", status)
	}
	c.expect(opText, `{"Time":"2026-01-02T03:04:05Z","Type":"a","Action":"","Key":"","Principal":"user:anonymous","Object":null,"Original":null}`)
	for _, header := range []string{bearer("x"), basicAuth("a\x00", "b"), basicAuth("\xff", "b")} {
		if answer := s.drpUpgrade(drpPath, header); answer.StatusCode != 403 {
			t.Errorf("%s: %d", header, answer.StatusCode)
		}
	}
	if answer := s.drpUpgrade(drpPath, "Origin: https://elsewhere.example"); answer.StatusCode != 403 {
		t.Errorf("a foreign page: %d", answer.StatusCode)
	}
	first := s.fetches("rocketskates", "", basicAuth("rocketskates", "whatever"))
	longer := s.fetches("rocketskates", "?ttl=7200", bearer(first))
	for _, header := range []string{bearer(longer), basicAuth("rocketskates", "anything")} {
		other := &drpClient{s.dial(drpPath, header)}
		other.do("register", "b.*.*")
		if status, _, text := s.request("POST", eventsPath, `{"Type":"b","Time":"2026-01-02T03:04:05Z"}`, asJSON, header); status != 204 {
			t.Errorf("post: %d %s", status, text)
		}
		other.expect(opText, `{"Time":"2026-01-02T03:04:05Z","Type":"b","Action":"","Key":"","Principal":"user:rocketskates","Object":null,"Original":null}`)
	}
	_, header, _ := s.request("GET", "/api/v3/info", "")
	if got := header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("pages of %q may read answers", got)
	}
}

// stored returns the only publication.
func stored(t *testing.T, s *store) notifier.Publication {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.publications) != 1 {
		t.Fatalf("%d publications", len(s.publications))
	}
	p := s.publications[0]
	s.publications = nil
	return p
}

// What is posted is stored as it is said, but for who says it.
func TestDRP_Post(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	publisher := token(t, "alice", time.Hour, withRoles("publisher"))
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	for body, want := range map[string]notifier.Event{
		``:         {},
		" \n":      {},
		`{}`:       {},
		`null`:     {},
		`{"x":{}}`: {},
		`{"Time":"2026-01-02T03:04:05.123456789Z","Type":"t","Action":"a","Key":"k.k","Principal":"user:root","Object":{"b" : 1,"a":[]},"Original":"x"}`: {
			CreatedAt: at, Type: "t", Action: "a", Key: "k.k", Payload: []byte(`{"b" : 1,"a":[]}`), Original: []byte(`"x"`),
		},
		`{"Time":"2026-01-02T05:04:05.123456789+02:00"}`:     {CreatedAt: at},
		`{"Time":"0001-01-01T00:00:00Z","Object":null}`:      {Payload: []byte("null")},
		`{"Time":"0001-01-01T01:00:00+01:00"}`:               {},
		`{"Time":null,"Type":null,"Action":null,"Key":null}`: {},
		`{"type":"t","ACTION":"a","kEy":"k","object":1}`:     {Type: "t", Action: "a", Key: "k", Payload: []byte("1")},
		`{"Type":"a","Type":"b"}`:                            {Type: "b"},
		`{"Key":"` + strings.Repeat("k", 1024) + `"}`:        {Key: strings.Repeat("k", 1024)},
	} {
		status, header, text := s.request("POST", eventsPath, body, bearer(publisher), "Content-Type: application/json; charset=utf-8")
		if status != http.StatusNoContent || header.Get("Content-Type") != "application/json" || text != "" {
			t.Fatalf("%s: %d %v %q", short(body), status, header, text)
		}
		p := stored(t, d.store)
		want.Principal = "user:alice"
		if diff := cmp.Diff([]notifier.Event{want}, p.Events, cmpopts.IgnoreUnexported(notifier.Event{})); diff != "" {
			t.Errorf("%s: %s", short(body), diff)
		}
	}
}

// What can't be posted is refused in the real server's form, and not stored.
func TestDRP_PostRefused(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d, func(c *httpapi.Config) { c.MaxBody, c.MaxPayload = 4000, 100 })
	publisher, reader := token(t, "alice", time.Hour, withRoles("publisher")), token(t, "alice", time.Hour, nil)
	long := `"` + strings.Repeat("x", 99) + `"`
	for _, c := range []struct {
		token, contentType, body string
		status                   int
		message                  string
	}{
		{reader, "application/json", `{}`, 403, "the user lacks the role publisher"},
		{publisher, "", `{}`, 400, "Invalid content type: "},
		{publisher, "text/plain", `{}`, 400, "Invalid content type: text/plain"},
		{publisher, "application/json", `{`, 400, "Error in $: unexpected end of JSON input (at byte 1)"},
		{publisher, "application/json", `{"Type":"` + "\xff" + `"}`, 400, "Error in $: the text is not valid UTF-8"},
		{publisher, "application/json", `[]`, 400, "Error in $: expected an event, but encountered a list"},
		{publisher, "application/json", `{"Type":1}`, 400, "Error in $.Type: expected a string, but encountered a number"},
		{publisher, "application/json", `{"Time":1}`, 400, "Error in $.Time: expected a time, but encountered a number"},
		{publisher, "application/json", `{"Time":"yesterday"}`, 400, "Error in $.Time: expected a time such as 2006-01-02T15:04:05Z07:00"},
		{publisher, "application/json", `{"Type":"websocket"}`, 400, "Error in $.Type: events of type websocket are the server's own answers"},
		{publisher, "application/json", `{"Key":"` + strings.Repeat("k", 1025) + `"}`, 400, "Error in $.Key: longer than 1024 bytes"},
		{publisher, "application/json", `{"Object":` + long + `}`, 413, "the payload of event 0 has 101 bytes, the most is 100"},
		{publisher, "application/json", `{"Original":` + long + `}`, 413, "the payload of event 0 has 101 bytes, the most is 100"},
		{publisher, "application/json", strings.Repeat(" ", 4001), 413, "the body is larger than 4000 bytes"},
	} {
		status, header, body := s.request("POST", eventsPath+"?token="+c.token, c.body, "Content-Type: "+c.contentType)
		if want := drpErrorBody("POST", eventsPath, c.message, c.status); status != c.status || body != want || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v\n%s, want\n%s", short(c.body), status, header, body, want)
		}
	}
	for fault, want := range map[error]string{
		notifier.ErrUnstorable:     drpErrorBody("POST", eventsPath, "Error in $: it holds what can't be stored, such as a NUL character; nothing was stored", 400),
		errors.New("disk is full"): drpErrorBody("POST", eventsPath, "the event store can't take it now; nothing was stored, try again", 503),
	} {
		d.setFault(fault)
		if _, _, body := s.request("POST", eventsPath, `{}`, bearer(publisher), asJSON); body != want {
			t.Errorf("%v: %s", fault, body)
		}
	}
	d.setFault(nil)
	if got := d.published(); len(got) > 0 {
		t.Errorf("stored %+v", got)
	}
}

// Unknown routes, wrong methods, and what is there but is no WebSocket.
func TestDRP_Errors(t *testing.T) {
	t.Parallel()
	s := drpSystem(t, newDirectory("alice"))
	good := token(t, "alice", time.Hour, nil)
	for _, c := range []struct {
		method, path string
		status       int
		message      string
		allow        []string
	}{
		{"GET", "/api/v3/x", 404, "No route", nil},
		{"POST", "/api/v3/machines/1/x", 404, "No route", nil},
		{"GET", "/api/v3", 404, "No route", nil},
		{"GET", "/api/v3/", 404, "No route", nil},
		{"GET", "/api/v3/<&>", 404, "No route", nil},
		{"GET", eventsPath, 405, "Method not allowed", []string{"POST"}},
		{"DELETE", "/api/v3/info", 405, "Method not allowed", []string{"GET", "HEAD"}},
	} {
		status, header, body := s.request(c.method, c.path+"?token=secret", "")
		want := strings.NewReplacer("<", `\u003c`, "&", `\u0026`, ">", `\u003e`).Replace(drpErrorBody(c.method, c.path, c.message, c.status))
		if status != c.status || body != want || header.Get("Content-Type") != "application/json" || cmp.Diff(c.allow, header.Values("Allow")) != "" {
			t.Errorf("%s %s: %d %v %s", c.method, c.path, status, header, body)
		}
	}
	status, header, _ := s.request("GET", drpPath, "", bearer(good))
	if status != http.StatusUpgradeRequired || header.Get("Upgrade") != "websocket" {
		t.Errorf("no upgrade: %d %v", status, header)
	}
	status, header, body := s.request("GET", "/api/v3/info", "", bearer(good))
	var info map[string]any
	if err := json.Unmarshal([]byte(body), &info); err != nil || status != 200 || header.Get("Content-Type") != "application/json" || info["id"] != "notifier" {
		t.Errorf("info: %d %v %s", status, header, body)
	}
}

// Pages of any origin may call, with a token that they have; a browser asks
// first, without one.
func TestDRP_AnyOrigin(t *testing.T) {
	t.Parallel()
	s := drpSystem(t, newDirectory("alice"))
	good := token(t, "alice", time.Hour, nil)
	const origin = "Origin: https://elsewhere.example"
	for _, path := range []string{eventsPath, "/api/v3/info", "/api/v3/users/alice/token"} {
		status, header, _ := s.request("OPTIONS", path, "", origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
		if status != 204 || header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(header.Get("Access-Control-Allow-Methods"), "POST") ||
			!strings.Contains(header.Get("Access-Control-Allow-Headers"), "Authorization") || header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, status, header)
		}
	}
	for _, headers := range [][]string{{origin, bearer(good)}, {origin}, {"Origin: null", bearer("x")}} {
		_, header, _ := s.request("GET", "/api/v3/info", "", headers...)
		if header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%q: %v", headers, header)
		}
	}
	_, header, _ := s.request("POST", "/push_events", "[]", origin, asJSON)
	if got := header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("beyond DRP's routes: %q", got)
	}
	for _, header := range []string{origin, "Origin: null", "Origin: http://" + s.addr} {
		if answer := s.drpUpgrade(drpPath+"?token="+url.QueryEscape(good), header); answer.StatusCode != 101 {
			t.Errorf("%s: %d", header, answer.StatusCode)
		}
	}
}

// A client that asks for a subprotocol or for compression gets neither.
func TestDRP_NoExtras(t *testing.T) {
	t.Parallel()
	s := drpSystem(t, newDirectory("alice"))
	answer := s.drpUpgrade(drpPath, bearer(token(t, "alice", time.Hour, nil)), "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate")
	if answer.StatusCode != 101 || answer.Header.Get("Sec-WebSocket-Protocol") != "" || answer.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
}

// No password or token gets into the log, wherever a client puts it.
func TestDRP_TellsNothing(t *testing.T) {
	t.Parallel()
	said := &spoken{}
	d := newDirectory("alice")
	s := drpSystem(t, d, said.listen)
	d.setAccount("alice", account(t))
	session, foreign := s.logsIn("alice", rightPassword), token(t, "alice", time.Hour, nil)
	for _, secret := range []string{session, foreign, "alice:" + rightPassword, "alice:hunter2", foreign + "x", "ntf1_hunter2"} {
		query := "?token=" + url.QueryEscape(secret)
		for _, path := range []string{"/api/v3/info", "/api/v3/nothing", "/api/v3/users/alice/token"} {
			s.request("GET", path+query, "")
			s.request("GET", path, "", bearer(secret))
		}
		s.request("POST", eventsPath+query, `{"Type":1}`, asJSON)
		if answer, c := s.handshake(drpPath + query); answer.StatusCode == 101 {
			c.text("register *.*.*")
			c.text("password hunter2")
			c.send(0x80|opClose, closePayload(1000, ""))
			c.expectClose()
		}
	}
	text := said.String()
	if !strings.Contains(text, "login refused") || !strings.Contains(text, "token refused") {
		t.Errorf("nothing was logged: nothing is shown: %s", text)
	}
	for _, secret := range []string{session, foreign, rightPassword, url.QueryEscape(rightPassword), "hunter2", foreign[:30], session[:30]} {
		if strings.Contains(text, secret) {
			t.Errorf("the log contains %q", secret)
		}
	}
}
