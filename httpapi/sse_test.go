package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// A message is one line of JSON with all that an event has, byte for byte.
func TestSSE_Messages(t *testing.T) {
	t.Parallel()
	s := setup(t)
	es := s.stream("/events?topic=*.*.*", resumed)
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := es.answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if es.lastID == "" {
		t.Error("the verdict has no cursor")
	}
	s.push(notifier.Event{CreatedAt: time.Unix(0, 1000)},
		notifier.Event{
			Type: "a\nb", Action: `"`, Key: "<é>", Recipient: new("me"), DatasetID: new("d"), Principal: "p", CreatedAt: notifier.MaxTime,
			Payload: []byte("{\"x\":\r\n [1,\n\n2]\r}"), Original: []byte(`"\n"`),
		},
		notifier.Event{Type: "websocket", CreatedAt: notifier.MinTime})
	for _, want := range []string{
		`{"id":1,"type":"","action":"","key":"","recipient":null,"dataset_id":null,"principal":null,"created_at":"1970-01-01T00:00:00.000001Z","payload":null,"original":null}`,
		`{"id":2,"type":"a\nb","action":"\"","key":"<é>","recipient":"me","dataset_id":"d","principal":"p","created_at":"9999-12-31T23:59:59.999999999Z","payload":{"x":   [1,  2] },"original":"\n"}`,
		`{"id":3,"type":"websocket","action":"","key":"","recipient":null,"dataset_id":null,"principal":null,"created_at":"0001-01-01T00:00:00Z","payload":null,"original":null}`,
	} {
		if b := es.next(); b.data != want || b.event != "" || b.retry != "" || b.id == "" || len(b.id) > 80 {
			t.Errorf("got  %+v\nwant %s", b, want)
		}
	}
}

func TestSSE_Topics(t *testing.T) {
	t.Parallel()
	s := setup(t)
	query := "?" + url.Values{"topic": {"a.*.1,2", "a.*.2", `b\1c.*.x.y`, "a.*.2"}}.Encode()
	es := s.stream("/events"+query, resumed)
	mine := s.stream("/events/?recipient=me", resumed)
	both := s.stream("/events?recipient=me&topic=a.*.*", resumed)
	named := s.stream("/events?recipient=you", resumed)
	s.push(notifier.Event{Type: "a", Key: "1"}, notifier.Event{Type: "a", Key: "2"}, notifier.Event{Type: "a", Key: "3"},
		notifier.Event{Type: "b.c", Key: "x.y"}, notifier.Event{Type: "a", Key: "4", Recipient: new("anonymous")},
		notifier.Event{Type: "b", Key: "5", Recipient: new("anonymous")}, notifier.Event{Type: "a", Key: "6", Recipient: new("you")},
		notifier.Event{Type: "a", Key: "2", Recipient: new("anonymous")}, notifier.Event{Key: "9", Recipient: new("you")})
	es.expectKeys("1", "2", "x.y", "2")
	mine.expectKeys("4", "5", "2")
	both.expectKeys("4", "2")
	named.expectKeys("6", "9")
}

func TestSSE_Refusals(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	var log spoken
	s := sseSystem(t, d, log.listen, func(c *httpapi.Config) { c.MaxSubscriptions = 3 })
	alice, nobody := token(t, "alice", time.Hour, nil), token(t, "nobody", time.Hour, nil)
	for _, c := range []struct {
		query, token string
		status       int
		text         string
	}{
		{"", alice, 400, "nothing is asked for"},
		{"?topics=a.b.c", alice, 400, "nothing is asked for"},
		{"?topic=", alice, 400, "not of the form TYPE.ACTION.KEY"},
		{"?topic=a.b", alice, 400, `the topic "a.b" is not of the form`},
		{"?topic=a.b.%ff", alice, 400, "UTF-8"},
		{"?topic=a.b.%00", alice, 400, "NUL"},
		{"?topic=%zz", alice, 400, "malformed"},
		{"?" + strings.Repeat("topic=a.b.c&", 101), alice, 400, "more than 100 topics"},
		{"?topic=a.b.1,2,3,4", alice, 400, "too many subscriptions"},
		{"?recipient=me&recipient=me", alice, 400, "more than once"},
		{"?recipient=" + strings.Repeat("x", 1025), alice, 400, "no user's id"},
		{"?recipient=bob", alice, 403, "not this token's user"},
		{"?recipient=me&since=yesterday", alice, 400, "neither a time"},
		{"?recipient=me&since=1700000000000", alice, 400, "not in milliseconds"},
		{"?recipient=me&cursor=made-up", alice, 400, "not a cursor"},
		{"?recipient=me&token=" + alice, "made-up", 401, "invalid token"},
		{"?recipient=me", "", 401, "no token"},
		{"?recipient=me", nobody, 403, "unknown user"},
		{"?topic=datasetUpdate.*.closed", alice, 403, "no access"},
		{"?topic=a.*.*&topic=uploadFile.*.closed", alice, 403, "no access"},
	} {
		headers := []string{asSource, "Origin: https://elsewhere.example"}
		if c.token != "" {
			headers = append(headers, "Authorization: Bearer "+c.token)
		}
		status, header, text := s.request("GET", "/events"+c.query, "", headers...)
		if status != c.status || !strings.Contains(text, c.text) || strings.Contains(text, "\n") || header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %q %v, want %d %q", short(c.query), status, text, header, c.status, c.text)
		}
	}
	status, _, text := s.request("GET", "/events?recipient=me", "", "Authorization: Bearer "+alice, "Last-Event-ID: made-up")
	if status != 400 || !strings.Contains(text, "not a cursor") {
		t.Errorf("a made-up Last-Event-ID: %d %q", status, text)
	}
	for method, want := range map[string]int{"HEAD": 200, "POST": 405, "OPTIONS": 204} {
		status, header, _ := s.request(method, "/events?recipient=me&token="+alice, "")
		if status != want || method == "HEAD" && header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: %d %v, want %d", method, status, header, want)
		}
		if method == "OPTIONS" && !strings.Contains(header.Get("Access-Control-Allow-Headers"), "Last-Event-ID") {
			t.Errorf("a page may not send Last-Event-ID: %v", header)
		}
	}
	if status, _, _ := s.request("HEAD", "/events?recipient=me&token="+nobody, ""); status != 403 {
		t.Errorf("HEAD for an unknown user: %d", status)
	}
	if status, _, _ := s.request("HEAD", "/events?topic=datasetUpdate.*.closed&token="+alice, ""); status != 403 {
		t.Errorf("HEAD for a topic that may not be followed: %d", status)
	}
	until(t, "no place is taken", func() bool { return s.server.Stats().Protocols["sse"].Open == 0 })
	for _, secret := range []string{alice, nobody} {
		if strings.Contains(log.String(), secret) {
			t.Error("a token was logged")
		}
	}
}

// In anonymous mode foreign pages are kept out, and no other may read the answer.
func TestSSE_Origins(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if status, _, _ := s.request("GET", "/events?topic=*.*.*", "", "Origin: https://elsewhere.example"); status != 403 {
		t.Errorf("a foreign page: %d", status)
	}
	es := s.stream("/events?topic=*.*.*", resumed, "Origin: "+s.url)
	if got := es.answer.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("any page may read: %q", got)
	}
}

// EventSource gives up for ever when it gets another status than 200; others are
// told the truth.
func TestSSE_ComesAgain(t *testing.T) {
	t.Parallel()
	full := setup(t, func(c *httpapi.Config) { c.MaxConnections = 1 })
	full.stream("/events?topic=*.*.*", resumed)
	crowded := setup(t, func(c *httpapi.Config) { c.MaxConnectionsPerAddress = 1 })
	crowded.stream("/events?topic=*.*.*", resumed)
	starting := setup(t, func(c *httpapi.Config) { c.Hub = notifier.NewHub(notifier.HubConfig{}) })
	d := newDirectory("alice")
	d.fault = fmt.Errorf("the policy fails")
	failing := sseSystem(t, d)
	query := "/events?recipient=me&token=" + token(t, "alice", time.Hour, nil)
	for why, c := range map[httpapi.Refusal]struct {
		s      *system
		path   string
		status int
	}{
		httpapi.RefusedConnections: {full, "/events?recipient=me", 503},
		httpapi.RefusedPerAddress:  {crowded, "/events?recipient=me", 429},
		httpapi.RefusedStarting:    {starting, "/events?recipient=me", 503},
		httpapi.RefusedOutage:      {failing, query, 503},
	} {
		if retry := c.s.opens(c.path, asSource).ends(string(why)); retry < time.Second || retry > time.Minute {
			t.Errorf("%s: come again after %v", why, retry)
		}
		if status, header, _ := c.s.request("GET", c.path, ""); status != c.status || header.Get("Retry-After") == "" {
			t.Errorf("%s: curl is told %d", why, status)
		}
		if n := c.s.server.Refusals()[why]; n != 2 {
			t.Errorf("%s: counted %d times", why, n)
		}
	}
}

// Streams have limits of their own: they take nothing from requests.
func TestSSE_LeavesRequestsTheirRoom(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			t.Parallel()
			s := setupTLS(t, func(c *httpapi.Config) { c.MaxRequests = 2 })
			open := func() *eventSource {
				es := s.opensBy(&http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: version == 2}, "/events?topic=*.*.*")
				es.begins(resumed)
				return es
			}
			for range 2 { // what has ended leaves nothing behind
				all := []*eventSource{open(), open(), open(), open()}
				if status, text, _ := s.asks("GET", "/clients", ""); status != 200 {
					t.Errorf("beside the streams: %d %s", status, text)
				}
				until(t, "they have ended", func() bool {
					for _, es := range all {
						es.close() // also, once it is idle, the connection that it came by
					}
					return s.server.Stats().Protocols["sse"].Open == 0 && s.server.Sockets() <= 1 // the request's
				})
			}
		})
	}
}

func TestSSE_Ends(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	d.allowed["alice x"], d.allowed["alice y"] = true, true
	d.setAccount("carol", notifier.Credentials{Generation: 1})
	d.users["carol"] = true
	s := sseSystem(t, d)
	as := func(user string, life time.Duration) string {
		return "Authorization: Bearer " + token(t, user, life, nil)
	}
	bob := s.stream("/events?recipient=me", resumed, as("bob", time.Hour))
	expiring := s.stream("/events?recipient=me", resumed, as("alice", 2*time.Second))
	reading := s.stream("/events?topic=datasetUpdate.*.x&topic=uploadFile.*.y", resumed, as("alice", time.Hour))
	staying := s.stream("/events?topic=datasetUpdate.*.x&recipient=me", resumed, as("alice", time.Hour))

	d.permit("alice", "x", false)
	if b := reading.next(); b.event != "notifier" || b.data != `{"revoked":["datasetUpdate.*.x"]}` {
		t.Errorf("a revocation is told as %+v", b)
	}
	d.publish(t, notifier.Event{Type: "datasetUpdate", Key: "x", DatasetID: new("x")}, notifier.Event{Type: "uploadFile", Key: "y", DatasetID: new("y")})
	reading.expectKeys("y")
	d.permit("alice", "y", false)
	reading.ends("unauthorized")
	staying.ends("unauthorized")
	if err := d.DropUser(t.Context(), "bob", ""); err != nil {
		t.Fatal(err)
	}
	if retry := bob.ends("dropped"); retry < 30*time.Second {
		t.Errorf("who was dropped may come again after %v", retry)
	}
	expiring.ends("token_expired")
	until(t, "all is forgotten", func() bool { return len(s.hub.Users()) == 0 })
	stats := s.server.Stats()
	if p := stats.Protocols["sse"]; p.Open != 0 || p.Opened != 4 || stats.Ended[notifier.EndedByExpiry] != 1 || stats.Ended[notifier.EndedByAccess] != 2 {
		t.Errorf("counted as %+v", stats)
	}
}

func TestSSE_Drain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	es := s.stream("/events?topic=*.*.*", resumed)
	s.push(notifier.Event{Key: "last"})
	go func() { _ = s.stop() }() // the cleanup waits for it
	es.expectKeys("last")
	if retry := es.ends("shutdown"); retry < 250*time.Millisecond || retry > 5*time.Second {
		t.Errorf("come again after %v", retry)
	}
	if !es.answer.Close {
		t.Error("the connection would be used again, though another instance is to be asked")
	}
}

// A quiet stream is kept alive, and its cursor moves with the log.
func TestSSE_Heartbeat(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.PingInterval = 120 * time.Millisecond })
	es := s.stream("/events?topic=mine.*.*", resumed)
	for range 3 {
		for b := es.next(); b != (block{comment: ":"}); b = es.next() {
			if b != (block{id: b.id}) {
				t.Fatalf("a heartbeat is %+v", b)
			}
		}
	}
	before := es.lastID
	s.push(notifier.Event{Type: "other"})
	for es.lastID == before {
		if b := es.next(); b != (block{comment: ":"}) && b != (block{id: b.id}) {
			t.Fatalf("a heartbeat is %+v", b)
		}
	}
	s.push(notifier.Event{Type: "mine", Key: "1"})
	es.expectKeys("1")
}

// The server's limits for requests are not for streams, over any version of HTTP;
// and a client that goes away is noticed.
func TestSSE_LastsUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			const limit = 100 * time.Millisecond
			web := httptest.NewUnstartedServer(s.server.Handler())
			web.Config.ReadTimeout, web.Config.WriteTimeout = limit, limit
			web.EnableHTTP2 = version == 2
			web.StartTLS()
			defer web.Close()
			s.url = web.URL
			es := s.opensBy(&http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: version == 2}, "/events?topic=*.*.*")
			es.begins(resumed)
			if es.answer.ProtoMajor != version {
				t.Fatalf("it is %s", es.answer.Proto)
			}
			for i := range 5 {
				time.AfterFunc(limit, func() { s.push(notifier.Event{Key: fmt.Sprint(i)}) })
				es.expectKeys(fmt.Sprint(i))
			}
			es.close()
			until(t, "the client is forgotten", func() bool { return len(s.hub.Users()) == 0 && s.server.Stats().Protocols["sse"].Open == 0 })
		})
	}
}

// Who does not read falls behind, and misses nothing; who reads nothing at all is
// given up.
func TestSSE_SlowClient(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			t.Parallel()
			s := setupTLS(t, func(c *httpapi.Config) {
				c.Outbox = notifier.OutboxLimits{Events: 10}
				c.SendBuffer = 4096
				c.WriteTimeout = 2 * time.Second
			})
			transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: version == 2}
			open := func() *eventSource {
				es := s.opensBy(transport, "/events?topic=*.*.*")
				es.begins(resumed)
				return es
			}
			slow := open()
			const events, size = 200, 100_000 // more than all buffers hold
			payload := []byte(`"` + strings.Repeat("x", size) + `"`)
			for i := range events {
				s.push(notifier.Event{Key: fmt.Sprint(i), Payload: payload})
			}
			if e, b := s.server.Stats().WaitingEvents, s.server.Stats().WaitingBytes; e > 10 || b > 11*size {
				t.Errorf("%d events of %d bytes wait", e, b)
			}
			ids := map[string]bool{}
			for i := range events {
				e, b := slow.event()
				if e.Key != fmt.Sprint(i) || b.id == "" || ids[b.id] {
					t.Fatalf("event %d is %s, its cursor %q", i, e.Key, b.id)
				}
				ids[b.id] = true
			}
			for i := range events {
				s.push(notifier.Event{Key: fmt.Sprint(i), Payload: payload})
			}
			until(t, "it is given up", func() bool { return s.server.Stats().Ended[notifier.EndedBySlowness] == 1 && len(s.hub.Users()) == 0 })
		})
	}
}

// Whoever comes with a time gets what is stored since then, without cursors, which
// begin behind it; with a cursor, the time is only a filter.
func TestSSE_SinceATime(t *testing.T) {
	t.Parallel()
	s := setup(t)
	at := func(key string, seconds int64) notifier.Event {
		return notifier.Event{Type: "t" + key, Key: key, CreatedAt: time.Unix(seconds, 0).UTC()}
	}
	s.push(at("3", 3000), at("1", 1000), at("2", 2000))
	for _, since := range []string{"2000", "1970-01-01T00:33:20Z", "1970-01-01T02:33:20%2B02:00", "1970-01-01T02:33:20+02:00"} {
		es := s.stream("/events?topic=*.*.*&topic=t2.*.*&since="+since, resumed)
		for _, key := range []string{"2", "3"} {
			if e, b := es.event(); e.Key != key || b.id != "" {
				t.Errorf("since %s: %+v, want %s without a cursor", since, b, key)
			}
		}
		if b := es.next(); b != (block{id: b.id}) || b.id == "" {
			t.Errorf("behind the replay comes %+v, not a cursor", b)
		}
		es.close()
	}
	es := s.stream("/events?topic=*.*.*&since=2000", resumed)
	es.expectKeys("2", "3")
	es.next()
	s.push(at("4", 4000), at("old", 1), at("5", 5000))
	es.expectKeys("4", "5")
	es.close()
	s.push(at("old", 1), at("6", 6000))
	es = s.stream("/events?topic=*.*.*&since=2000", replayed(1), "Last-Event-ID: "+es.lastID)
	es.expectKeys("6")
	s.push(at("old", 1), at("7", 7000))
	es.expectKeys("7")
	again := s.stream("/events?topic=*.*.*&cursor="+es.lastID, resumed)
	s.push(at("8", 0))
	again.expectKeys("8")
	header := s.stream("/events?topic=*.*.*&cursor="+es.lastID, resumed, "Last-Event-ID: "+again.lastID)
	if again.lastID == es.lastID || !slices.Contains(s.hub.Users(), "anonymous") {
		t.Errorf("the cursor did not move on")
	}
	header.close()
}
