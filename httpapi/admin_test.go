package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// ask asks a question of operators and reads its answer.
func ask[T any](s *system, path string, headers ...string) []T {
	s.t.Helper()
	status, header, text := s.request("GET", path, "", headers...)
	if status != 200 || header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("%s: %d %v %s", path, status, header, text)
	}
	var report instances.Report[T]
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		s.t.Fatal(err)
	}
	return report.Instances
}

// operated is a server that knows who it is, and of others.
func operated(others ...notifier.Instance) func(*httpapi.Config) {
	self := notifier.Instance{ID: "self", Name: "here:1", Version: "v1", StartedAt: time.Unix(1000, 0)}
	return func(c *httpapi.Config) {
		c.Operation = httpapi.Operation{
			Self:       self,
			Instances:  func(context.Context) ([]notifier.Instance, error) { return append(others, self), nil },
			EventsRead: func() int64 { return 42 },
			Latencies: func() *instances.Latencies {
				return &instances.Latencies{Read: instances.Latency{P50: 1, P99: 2, Count: 3}}
			},
		}
	}
}

func TestAdmin_Clients(t *testing.T) {
	t.Parallel()
	s := setup(t, operated())
	ann := s.announce("ann", 0)
	s.stream("/events/?topic=a.*.*&recipient=bob", resumed)
	idle := s.dial("/ws")
	s.live(idle)
	byUser := map[string]instances.Client{}
	got := ask[instances.ClientsOf](s, "/admin/clients")
	if len(got) != 1 || got[0].Connections != 3 || len(got[0].Clients) != 3 {
		t.Fatalf("%+v", got)
	}
	if head := got[0].Head; head.Instance != "self" || head.Name != "here:1" || head.Version != "v1" || !head.Self || head.Error != "" || !head.StartedAt.Equal(time.Unix(1000, 0)) {
		t.Errorf("head %+v", head)
	}
	for _, c := range got[0].Clients {
		if c.ID == "" || c.State != instances.Live || !strings.HasPrefix(c.Address, "127.0.0.1:") || time.Since(c.ConnectedAt) > time.Minute || time.Until(c.ConnectedAt) > 0 {
			t.Errorf("%+v", c)
		}
		byUser[c.User] = c
	}
	if c := byUser["ann"]; c.Protocol != "ernius" || c.Subscriptions != 1 || c.Address != ann.LocalAddr().String() {
		t.Errorf("%+v", c)
	}
	if c := byUser["bob"]; c.Protocol != "sse" || c.Subscriptions != 1 {
		t.Errorf("%+v", c)
	}
	if c := byUser[""]; c.Protocol != "airlay" || c.Subscriptions != 0 {
		t.Errorf("%+v", c)
	}
	if got := ask[instances.ClientsOf](s, "/admin/clients?user=ann&scope=here")[0]; got.Connections != 1 || got.Clients[0].ID != byUser["ann"].ID {
		t.Errorf("of one user: %+v", got)
	}
	if got := ask[instances.ClientsOf](s, "/admin/clients?limit=1")[0]; got.Connections != 3 || len(got.Clients) != 1 {
		t.Errorf("with a limit: %+v", got)
	}
	if got := ask[instances.ClientsOf](s, "/admin/clients?user=nobody")[0]; got.Connections != 0 || got.Clients == nil {
		t.Errorf("of nobody: %+v", got)
	}
}

// Whoever is behind comes first, and for how long it has been is told.
func TestAdmin_ClientsThatAreBehindComeFirst(t *testing.T) {
	t.Parallel()
	s := setup(t, operated(), func(c *httpapi.Config) {
		c.Outbox, c.SendBuffer = notifier.OutboxLimits{Events: 2}, 4096
	})
	s.announce("quick", 0)
	s.announce("slow", 0) // and does not read
	for range 40 {
		s.push(event("slow", 1, `"`+strings.Repeat("x", 100_000)+`"`))
	}
	until(t, "one is behind", func() bool {
		c := ask[instances.ClientsOf](s, "/admin/clients")[0].Clients
		return c[0].User == "slow" && c[0].State == instances.Behind && c[0].LagMS > 0 && c[0].OutboxEvents > 0 && c[0].OutboxBytes > 100_000 &&
			c[1].State == instances.Live && c[1].LagMS == 0
	})
	if st := ask[instances.StatsOf](s, "/admin/stats")[0]; st.Behind != 1 || st.OutboxBytes == 0 || st.OutboxEvents == 0 {
		t.Errorf("%+v", st)
	}
}

func TestAdmin_Stats(t *testing.T) {
	t.Parallel()
	s := setup(t, operated())
	c := s.announce("ann", 0)
	s.push(event("ann", 1, `1`))
	c.expect(opText, `[{"accessid":"ann","created_at":1,"payload":1}]`)
	got := ask[instances.StatsOf](s, "/admin/stats")[0]
	if got.Connections["ernius"] != 1 || got.Connections["sse"] != 0 || len(got.Connections) != 5 || got.Subscriptions != 1 || got.EventsRead != 42 ||
		got.EventsDelivered != 1 || got.Latency.Read.P99 != 2 || time.Since(got.At) > time.Minute || got.UptimeSeconds < 0 || !got.Self {
		t.Errorf("%+v", got)
	}
	none := setup(t)
	if got := ask[instances.StatsOf](none, "/admin/stats")[0]; got.Latency != nil || !got.Self {
		t.Errorf("of a server that knows nothing of itself: %+v", got)
	}
}

func TestAdmin_OnlyForAdmins(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := setup(t, guarded(t, d, bySecret()), operated())
	for _, path := range []string{"/admin/clients", "/admin/stats"} {
		for who, c := range map[string]struct {
			headers []string
			status  int
			text    string
		}{
			"nobody":    {nil, 401, `{"error":"no token"}`},
			"a liar":    {[]string{bearer("nonsense")}, 401, `{"error":"invalid token"}`},
			"alice":     {[]string{bearer(token(t, "alice", time.Hour, nil))}, 403, `{"error":"the token's user lacks the role admin"}`},
			"publisher": {[]string{bearer(token(t, "p", time.Hour, withRoles("publisher")))}, 403, `{"error":"the token's user lacks the role admin"}`},
			"admin":     {[]string{bearer(token(t, "a", time.Hour, withRoles("admin")))}, 200, ""},
		} {
			status, header, text := s.request("GET", path, "", c.headers...)
			if status != c.status || c.text != "" && text != c.text || header.Get("Cache-Control") != "no-store" || header.Get("Content-Type") != "application/json" {
				t.Errorf("%s by %s: %d %v %s", path, who, status, header, text)
			}
		}
	}
	operators := httptest.NewServer(s.server.OperatorHandler(nil))
	t.Cleanup(operators.Close)
	open := *s
	open.url = operators.URL
	if got := ask[instances.ClientsOf](&open, "/admin/clients"); len(got) != 1 || got[0].Clients == nil {
		t.Errorf("at the operators' address: %+v", got)
	}
	if status, _, _ := open.request("POST", "/admin/clients", ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
	if status, _, _ := open.request("GET", "/clients", ""); status != 404 {
		t.Errorf("the operators' address has what it is not for: %d", status)
	}
}

func TestAdmin_BadQuestions(t *testing.T) {
	t.Parallel()
	broken := errors.New("no database")
	s := setup(t, operated(), func(c *httpapi.Config) {
		c.Operation.Instances = func(context.Context) ([]notifier.Instance, error) { return nil, broken }
	})
	for path, want := range map[string]string{
		"/admin/clients?limit=-1":               `400 {"error":"limit is not a count"}`,
		"/admin/clients?limit=x":                `400 {"error":"limit is not a count"}`,
		"/admin/stats?scope=there":              `400 {"error":"scope \"there\" is neither all nor here"}`,
		"/admin/stats":                          `503 {"error":"the database did not answer: see the log"}`,
		"/admin/clients?scope=here&limit=99999": ``,
	} {
		status, _, text := s.request("GET", path, "")
		if got := fmt.Sprint(status, " ", text); got != want && want != "" || want == "" && status != 200 {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// impostor answers as an instance would, or otherwise.
func impostor(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

// What answers for other instances is not trusted: of each that does not answer
// well, it is said that it did not, in time, and the others count.
func TestAdmin_OtherInstances(t *testing.T) {
	t.Parallel()
	other := setup(t, func(c *httpapi.Config) { c.Operation.Self = notifier.Instance{ID: "good", StartedAt: time.Unix(1, 0)} })
	other.announce("ann", 0)
	good := impostor(t, other.server.OperatorHandler(nil).ServeHTTP)
	release := make(chan struct{})
	defer close(release)
	followed := impostor(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	says := func(text string) string {
		return impostor(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("scope") != "here" || r.URL.Query().Get("limit") != "5" {
				t.Errorf("asked for %s", r.URL)
			}
			_, _ = io.WriteString(w, text)
		})
	}
	at := map[string]string{
		"good":    good + "/",
		"silent":  impostor(t, func(http.ResponseWriter, *http.Request) { <-release }),
		"endless": impostor(t, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); <-release }),
		"gone":    "http://127.0.0.1:1",
		"nowhere": "",
		"strange": "ftp://127.0.0.1/",
		"path":    good + "/admin/clients?x=",
		"failing": impostor(t, bareStatus(500)),
		"elsewhere": impostor(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, followed, http.StatusTemporaryRedirect)
		}),
		"another": says(`{"instances":[{"instance":"good","clients":[{"user":"made up"}]}]}`),
		"two":     says(`{"instances":[{"instance":"two"},{"instance":"two"}]}`),
		"garbage": says(`{"instances":[{"instance":"garbage"`),
		"huge":    says(`{"instances":[{"instance":"huge","clients":[` + strings.Repeat(`{},`, 3<<20) + `{}]}]}`),
		"modest":  says(`{"instances":[{"instance":"modest","name":"made up","self":true,"error":"made up","connections":7,"more":1}]}`),
	}
	var others []notifier.Instance
	for id, url := range at {
		others = append(others, notifier.Instance{ID: id, Name: "name of " + id, AdminURL: url, StartedAt: time.Unix(2000, 0)})
	}
	s := setup(t, operated(others...))
	began := time.Now()
	got := map[string]instances.ClientsOf{}
	for _, c := range ask[instances.ClientsOf](s, "/admin/clients?limit=5") {
		got[c.Instance] = c
		if c.Clients == nil || c.Self != (c.Instance == "self") || !c.Self && c.Name != "name of "+c.Instance {
			t.Errorf("%+v", c)
		}
	}
	if took := time.Since(began); took > 30*time.Second { // two but for a busy machine
		t.Errorf("it took %v", took)
	}
	for id, want := range map[string]string{
		"self": "", "good": "", "modest": "",
		"silent": "did not answer: timeout", "endless": "did not answer: timeout", "gone": "did not answer: connection refused",
		"nowhere": "has no admin address", "strange": "its admin address is not of the form http://host:port",
		"path": "its admin address is not of the form http://host:port", "failing": "answered with status 500",
		"elsewhere": "answered with status 307", "another": "another instance answers at its admin address",
		"two": "its answer can't be understood", "garbage": "its answer can't be understood", "huge": "its answer is too large",
	} {
		if c, there := got[id]; !there || c.Error != want || want != "" && (c.Connections != 0 || len(c.Clients) != 0) {
			t.Errorf("%s: %q, want %q", id, c.Error, want)
		}
	}
	if c := got["good"]; c.Connections != 1 || len(c.Clients) != 1 || c.Clients[0].User != "ann" {
		t.Errorf("%+v", c)
	}
	if got["modest"].Connections != 7 {
		t.Errorf("%+v", got["modest"])
	}
	if len(got) != len(at)+1 {
		t.Errorf("%d instances", len(got))
	}
}

// Two instances that are asked about all ask each other: neither keeps the other
// waiting until it gets its own answers.
func TestAdmin_AnswersOthersWhileItAsksThem(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	silent := impostor(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release })
	s := setup(t, operated(notifier.Instance{ID: "silent", AdminURL: silent}))
	const many = 4 // that are answered at once
	var ended atomic.Int32
	var asking sync.WaitGroup
	for range many {
		asking.Go(func() {
			defer ended.Add(1)
			s.request("GET", "/admin/stats", "")
		})
	}
	for range many {
		<-asked
	}
	if status, _, text := s.request("GET", "/admin/stats?scope=here", ""); status != 200 || ended.Load() > 0 {
		t.Errorf("%d %s, after %d others", status, text, ended.Load())
	}
	close(release)
	asking.Wait()
}

func bareStatus(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}
