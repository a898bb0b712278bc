package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

func TestHTTP_StatusOfEachRequest(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const list, drop = `[]`, `{"drop_access_id":"c"}`
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"push nothing":              {"POST", "/push_events", list, []string{asJSON}, 200},
		"charset":                   {"POST", "/push_events", list, []string{"Content-Type: application/json;charset=utf-8"}, 200},
		"charset, spelled":          {"POST", "/push_events", list, []string{`Content-Type: Application/JSON ; Charset="UTF-8"`}, 200},
		"other charset":             {"POST", "/push_events", list, []string{"Content-Type: application/json;charset=latin1"}, 415},
		"no content type":           {"POST", "/push_events", list, nil, 415},
		"other content type":        {"POST", "/push_events", list, []string{"Content-Type: text/plain"}, 415},
		"two content types":         {"POST", "/push_events", list, []string{asJSON, asJSON}, 415},
		"broken content type":       {"POST", "/push_events", list, []string{"Content-Type: application/json;;=x"}, 415},
		"compressed":                {"POST", "/push_events", list, []string{asJSON, "Content-Encoding: gzip"}, 415},
		"drop without content type": {"POST", "/drop_user", drop, nil, 415},
		"drop":                      {"POST", "/drop_user", drop, []string{asJSON}, 200},
		"get push":                  {"GET", "/push_events", "", nil, 405},
		"put push":                  {"PUT", "/push_events", list, []string{asJSON}, 405},
		"get drop":                  {"GET", "/drop_user", "", nil, 405},
		"post clients":              {"POST", "/clients", "", nil, 405},
		"delete clients":            {"DELETE", "/clients", "", nil, 405},
		"head clients":              {"HEAD", "/clients", "", nil, 200},
		"root":                      {"GET", "/", "", nil, 200},
		"post root":                 {"POST", "/", "", nil, 405},
		"unknown":                   {"POST", "/push_event", list, []string{asJSON}, 404},
		"below":                     {"GET", "/clients/x", "", nil, 404},
		"get socket":                {"GET", "/subscribe_to_events", "", nil, 426},
		"post socket":               {"POST", "/subscribe_to_events/", "{}", []string{asJSON}, 426},
		"half an upgrade":           {"GET", "/subscribe_to_events", "", []string{"Connection: Upgrade", "Upgrade: h2c"}, 426},
		"upgrade by POST":           {"POST", "/subscribe_to_events", "", []string{"Connection: Upgrade", "Upgrade: websocket"}, 426},
		"accept any":                {"GET", "/clients", "", []string{"Accept: */*"}, 200},
		"accept text":               {"GET", "/clients", "", []string{"Accept: application/xml, text/*;q=0.1"}, 200},
		"accept our text":           {"GET", "/clients", "", []string{"Accept: text/plain;charset=utf-8"}, 200},
		"accept nothing said":       {"GET", "/clients", "", []string{"Accept: "}, 200},
		"accept other":              {"GET", "/clients", "", []string{"Accept: application/json"}, 406},
		"accept anything else":      {"GET", "/clients", "", []string{"Accept: */*, text/plain;q=0"}, 406},
		"accept other charset":      {"GET", "/clients", "", []string{"Accept: text/plain;charset=latin1"}, 406},
		"accept on push":            {"POST", "/push_events", list, []string{asJSON, "Accept: image/png"}, 406},
		"live":                      {"GET", "/livez", "", nil, 200},
		"ready":                     {"GET", "/readyz", "", nil, 200},
		"head ready":                {"HEAD", "/readyz", "", nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, header, text := s.in(t).request(c.method, c.path, c.body, c.headers...)
			if status != c.status {
				t.Errorf("status %d, want %d: %q", status, c.status, text)
			}
			if status >= 400 && text != "" {
				t.Errorf("not empty: %q", text)
			}
			if status == 405 && header.Get("Allow") == "" {
				t.Error("does not say which methods there are")
			}
			for name := range header {
				if strings.HasPrefix(name, "Access-Control") {
					t.Errorf("header %s lets other pages in", name)
				}
			}
		})
	}
}

func TestHTTP_BadPushes(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxList = 3; c.MaxBody = 100_000 })
	const good = `{"accessid":"c","created_at":1,"payload":"x"}`
	for body, why := range map[string]string{
		``:                                 "unexpected end",
		`{}`:                               "$: expected a list of events, but encountered an object",
		`null`:                             "but encountered null",
		`"x"`:                              "but encountered a string",
		`true`:                             "but encountered a boolean",
		`1e999`:                            "but encountered a number",
		`nonsense`:                         "invalid character",
		`[`:                                "unexpected end",
		`[` + good:                         "unexpected end",
		`[` + good + `,]`:                  "invalid character",
		`[` + good + good + `]`:            "after array element",
		`[` + good + `}`:                   "invalid character '}'",
		`[] []`:                            "after top-level value",
		`[]x`:                              "invalid character 'x'",
		`[` + good + `,1]`:                 "$[1]: expected an event, but encountered a number",
		`[[]]`:                             "$[0]: expected an event, but encountered a list",
		`[{"created_at":1,"payload":"x"}]`: "$[0].accessid: key not found",
		`[{"ACCESSID":"c","created_at":1,"payload":"x"}]`:                                                             "$[0].accessid: key not found",
		`[{"accessid":"c","payload":"x"}]`:                                                                            "$[0].created_at: key not found",
		`[{"accessid":"c","created_at":1}]`:                                                                           "$[0].payload: key not found",
		`[{"accessid":1,"created_at":1,"payload":"x"}]`:                                                               "expected a string, but encountered a number",
		`[{"accessid":"c\u0000","created_at":1,"payload":"x"}]`:                                                       "NUL",
		`[{"accessid":"` + strings.Repeat("x", 1025) + `","created_at":1,"payload":"x"}]`:                             "longer than 1024",
		`[{"accessid":"c","created_at":"1","payload":"x"}]`:                                                           "expected an integer, but encountered a string",
		`[{"accessid":"c","created_at":1.5,"payload":"x"}]`:                                                           "64 bits",
		`[{"accessid":"c","created_at":9223372036854775808,"payload":"x"}]`:                                           "64 bits",
		`[{"accessid":"c","created_at":1e999999999,"payload":"x"}]`:                                                   "64 bits",
		`[{"accessid":"c","created_at":9224318016000,"payload":"x"}]`:                                                 "can be stored",
		`[{"accessid":"c","created_at":-210866803201,"payload":"x"}]`:                                                 "can be stored",
		"[{\"accessid\":\"c\",\"created_at\":1,\"payload\":\"\xff\"}]":                                                "UTF-8",
		"[{\"accessid\":\"\xed\xa0\x80\",\"created_at\":1,\"payload\":1}]":                                            "UTF-8",
		`[{"accessid":"c","created_at":1,"payload":` + strings.Repeat("[", 30000) + strings.Repeat("]", 30000) + `}]`: "depth",
		`[{"accessid":"c","created_at":1,"payload":1,"idempotency_key":5}]`:                                           "idempotency_key: expected a string",
		`[{"accessid":"c","created_at":1,"payload":1,"idempotency_key":""}]`:                                          "idempotency_key: empty",
		`[{"accessid":"c","created_at":1,"payload":1,"idempotency_key":"` + strings.Repeat("k", 256) + `"}]`:          "longer than 255",
	} {
		t.Run(short(body)[:min(len(body), 60)], func(t *testing.T) {
			t.Parallel()
			status, header, text := s.in(t).request("POST", "/push_events", body, asJSON)
			if status != 400 || !strings.Contains(text, why) || strings.Contains(text, "\n") {
				t.Errorf("%d %q, want 400 %q", status, text, why)
			}
			if _, ok := header["Content-Type"]; ok {
				t.Errorf("content type %q", header["Content-Type"])
			}
		})
	}
	for name, body := range map[string]string{
		"list": "[" + strings.Repeat(good+",", 3) + good + "]",
		"body": `[{"accessid":"c","created_at":1,"payload":"` + strings.Repeat("x", 100_000) + `"}]`,
	} {
		t.Run("too large/"+name, func(t *testing.T) {
			t.Parallel()
			status, _, text := s.in(t).request("POST", "/push_events", body, asJSON)
			if status != 413 || text == "" || strings.Contains(text, "\n") {
				t.Errorf("%d %q, want 413 and why", status, text)
			}
		})
	}
	t.Cleanup(func() {
		if p := s.store.published(); len(p) > 0 {
			t.Errorf("stored %+v", p)
		}
	})
}

func TestHTTP_BadDrops(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for body, why := range map[string]string{
		``: "unexpected end", `[]`: "expected an object, but encountered a list", `{}`: "drop_access_id: key not found",
		`{"drop_access_id":1}`: "expected a string", `{"drop_access_id":"c"} x`: "invalid character", `{"drop_access_id":"\u0000"}`: "NUL",
		"{\"drop_access_id\":\"\xff\"}": "UTF-8", `{"DROP_ACCESS_ID":"c"}`: "key not found",
	} {
		status, _, text := s.request("POST", "/drop_user", body, asJSON)
		if status != 400 || !strings.Contains(text, why) {
			t.Errorf("%s: %d %q, want 400 %q", body, status, text, why)
		}
	}
	status, _, text := s.request("POST", "/drop_user", strings.Repeat(" ", 20000)+`{"drop_access_id":"c"}`, asJSON)
	if status != 413 {
		t.Errorf("%d %q, want 413", status, text)
	}
}

func TestHTTP_PublicationsReachTheStoreWhole(t *testing.T) {
	t.Parallel()
	s := setup(t)
	status, _, text := s.request("POST", "/push_events",
		`[{"accessid":"a","created_at":1e1,"payload":{"x": 1}},{"accessid":"b","created_at":-1,"payload":null,"idempotency_key":"k2"}]`,
		asJSON, "Idempotency-Key: k1")
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	published := s.store.published()
	if len(published) != 1 {
		t.Fatalf("%d publications, want all in one transaction", len(published))
	}
	p := published[0]
	if p.Principal != "anonymous" || p.IdempotencyKey != "k1" || len(p.EventKeys) != 2 || p.EventKeys[0] != "" || p.EventKeys[1] != "k2" {
		t.Errorf("%+v", p)
	}
	first, second := p.Events[0], p.Events[1]
	if *first.Recipient != "a" || first.CreatedAt.Unix() != 10 || string(first.Payload) != `{"x": 1}` || first.Type != "message" {
		t.Errorf("%+v", first)
	}
	if *second.Recipient != "b" || second.CreatedAt.Unix() != -1 || string(second.Payload) != `null` || second.Type != "message" {
		t.Errorf("%+v", second)
	}
}

func TestHTTP_BadIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, headers := range [][]string{
		{"Idempotency-Key: "}, {"Idempotency-Key: " + strings.Repeat("k", 256)}, {"Idempotency-Key: a", "Idempotency-Key: b"}, {"Idempotency-Key: \xff"},
	} {
		status, _, text := s.request("POST", "/push_events", `[]`, append(headers, asJSON)...)
		if status != 400 || !strings.Contains(text, "Idempotency-Key") {
			t.Errorf("%q: %d %q", headers, status, text)
		}
	}
}

func TestHTTP_StoreFailures(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const list, drop = `[{"accessid":"c","created_at":1,"payload":"x"}]`, `{"drop_access_id":"c"}`
	for status, fault := range map[int]error{
		503: errors.New("dial 10.1.2.3: secret"),
		400: fmt.Errorf("publish: %w", notifier.ErrUnstorable),
	} {
		s.store.setFault(fault)
		for path, body := range map[string]string{"/push_events": list, "/drop_user": drop} {
			got, _, text := s.request("POST", path, body, asJSON)
			if got != status || !strings.Contains(text, "nothing was stored") || strings.Contains(text, "secret") {
				t.Errorf("%s: %d %q, want %d", path, got, text, status)
			}
		}
	}
	s.store.setFault(fmt.Errorf("commit: %w", notifier.ErrOutcomeUnknown))
	status, _, text := s.request("POST", "/push_events", list, asJSON)
	if status != 503 || strings.Contains(text, "nothing was stored") || !strings.Contains(text, "Idempotency-Key") {
		t.Errorf("what nobody knows is told as %d %q", status, text)
	}
	status, _, text = s.request("POST", "/push_events", `[]`, asJSON)
	if status != 200 {
		t.Errorf("nothing to store, and yet %d %q", status, text)
	}
}

func TestHTTP_Readiness(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.Ready = func() error { return errors.New("db.internal is away") } })
	if status, _, text := s.request("GET", "/readyz", ""); status != 503 || strings.Contains(text, "internal") {
		t.Errorf("%d %q", status, text)
	}
	if status, _, _ := s.request("GET", "/livez", ""); status != 200 {
		t.Errorf("not alive: %d", status)
	}
}

func TestHTTP_NoSubscriptionBeforeTheHubKnowsWhereLiveBegins(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.Hub = notifier.NewHub(notifier.HubConfig{}) })
	if _, status := s.tryDial("/subscribe_to_events"); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
}

func TestHTTP_HugeBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for name, body := range map[string]io.Reader{
		"a list of 10^6":  strings.NewReader("[" + strings.Repeat(`{"accessid":"c","created_at":1,"payload":"x"},`, 1_000_000) + "1]"),
		"100 MB of blank": io.LimitReader(blank{}, 100<<20),
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		r, _ := http.NewRequestWithContext(t.Context(), "POST", s.url+"/push_events", body)
		r.Header.Set("Content-Type", "application/json")
		sent := make(chan error, 1)
		go func() { sent <- r.Write(conn) }() // ends when the server cuts it off
		status := readStatus(t, conn)
		if status != 413 {
			t.Errorf("%s: status %d, want 413", name, status)
		}
		_ = conn.Close()
		<-sent
	}
	if status, _, _ := s.request("POST", "/push_events", "[]", asJSON); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

// blank is white space without end.
type blank struct{}

var blanks = bytes.Repeat([]byte(" "), 64<<10)

func (blank) Read(p []byte) (int, error) { return copy(p, blanks), nil }

// What would be delivered as null is not taken.
func TestHTTP_PayloadThatWouldNotBeDelivered(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxPayload = 10 })
	for payload, want := range map[string]int{`"12345678"`: 200, `"123456789"`: 413} {
		list := fmt.Sprintf(`[{"accessid":"c","created_at":1,"payload":1},{"accessid":"c","created_at":1,"payload":%s}]`, payload)
		if status, _, text := s.request("POST", "/push_events", list, asJSON); status != want {
			t.Errorf("%s: %d %q, want %d", payload, status, text, want)
		}
	}
	if n := len(s.store.published()); n != 1 {
		t.Errorf("%d publications are stored", n)
	}
}
