package main

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
)

// observed is a server with an address for operators, and a way to write SQL.
type observed struct {
	t     *testing.T
	p     *process
	url   string // the public one
	admin string
	sql   *pgx.Conn
}

func observe(t *testing.T, args ...string) *observed {
	t.Helper()
	return observeOn(t, dbtest.New(t), args...)
}

func observeOn(t *testing.T, database string, args ...string) *observed {
	t.Helper()
	p, url := serving(t, database, append([]string{"--admin-addr=127.0.0.1:0"}, args...)...)
	return &observed{t, p, url, p.adminURL(), dbtest.Connect(t, database)}
}

// adminURL finds in the log where operators are served.
func (p *process) adminURL() string {
	p.t.Helper()
	_, after, found := strings.Cut(p.err.String(), `msg="operators are served" address=`)
	if !found {
		p.t.Fatal("it does not say where operators are served")
	}
	address, _, _ := strings.Cut(after, "\n")
	return "http://" + address
}

func (o *observed) exec(sql string, args ...any) {
	o.t.Helper()
	if _, err := o.sql.Exec(o.t.Context(), sql, args...); err != nil {
		o.t.Fatalf("%s: %v", sql, err)
	}
}

// scrape returns every sample by its name and labels as they are written.
func (o *observed) scrape() map[string]float64 {
	o.t.Helper()
	samples := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(page(o.t, o.admin+"/metrics")))
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		at := strings.LastIndexByte(lines.Text(), ' ')
		value, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			o.t.Fatalf("%s: %v", lines.Text(), err)
		}
		samples[lines.Text()[:at]] = value
	}
	return samples
}

// page returns what is found there.
func page(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, response.Status, err)
	}
	return string(body)
}

// becomes waits until a sample has a value.
func (o *observed) becomes(sample string, want float64) {
	o.t.Helper()
	o.reaches(sample+" is "+strconv.FormatFloat(want, 'g', -1, 64), func(s map[string]float64) bool {
		got, ok := s[sample]
		return ok && got == want
	})
}

// exceeds waits until a sample is above a value.
func (o *observed) exceeds(sample string, than float64) {
	o.t.Helper()
	o.reaches(sample+" exceeds "+strconv.FormatFloat(than, 'g', -1, 64), func(s map[string]float64) bool { return s[sample] > than })
}

// reaches waits until what a scrape shows is so.
func (o *observed) reaches(what string, so func(map[string]float64) bool) {
	o.t.Helper()
	dbtest.Eventually(o.t, what, func() bool { return so(o.scrape()) })
}

// dial opens a WebSocket and says something.
func (o *observed) dial(path string, messages ...string) *websocket.Conn {
	o.t.Helper()
	ws, response, err := websocket.Dial(o.t.Context(), o.url+path, nil)
	if err != nil {
		o.t.Fatalf("%s: %v", path, err)
	}
	if response.Body != nil {
		response.Body.Close()
	}
	ws.SetReadLimit(-1)
	o.t.Cleanup(func() { _ = ws.CloseNow() })
	for _, m := range messages {
		if err := ws.Write(o.t.Context(), websocket.MessageText, []byte(m)); err != nil {
			o.t.Fatal(err)
		}
	}
	return ws
}

// says waits until the client hears a text.
func (o *observed) says(ws *websocket.Conn, text string) {
	o.t.Helper()
	for {
		_, message, err := ws.Read(o.t.Context())
		if err != nil {
			o.t.Fatalf("before it said %q: %v", text, err)
		}
		if strings.Contains(string(message), text) {
			return
		}
	}
}

func TestMetrics_ConnectionsByProtocolAndEnd(t *testing.T) {
	t.Parallel()
	o := observe(t)
	for _, protocol := range []string{"ernius", "airlay", "drp", "sysadm"} {
		o.becomes(`notifier_connections{protocol="`+protocol+`"}`, 0)
	}
	o.dial("/ws")
	o.dial("/api/v3/ws")
	o.dial("/sysadm")
	o.dial("/") // sysadm's too
	ws := o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`)
	o.becomes(`notifier_connections{protocol="ernius"}`, 1)
	o.becomes(`notifier_connections{protocol="airlay"}`, 1)
	o.becomes(`notifier_connections{protocol="drp"}`, 1)
	o.becomes(`notifier_connections{protocol="sysadm"}`, 2)
	o.becomes("notifier_subscriptions", 1)
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	o.becomes(`notifier_connections{protocol="ernius"}`, 0)
	o.becomes(`notifier_connections_opened_total{protocol="ernius"}`, 1)
	o.becomes(`notifier_connections_ended_total{reason="client"}`, 1)
	o.becomes("notifier_subscriptions", 0)

	dropped := o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`)
	o.becomes("notifier_subscriptions", 1)
	o.exec(`SELECT notifier.drop_user('u', 'test')`)
	if _, _, err := dropped.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("dropped, the client was told %v", err)
	}
	o.becomes(`notifier_connections_ended_total{reason="dropped"}`, 1)
}

func TestMetrics_EventsReadDeliveredAndReplayed(t *testing.T) {
	t.Parallel()
	o := observe(t, "--max-payload=1KiB")
	o.exec(`INSERT INTO notifier.events (recipient, payload) VALUES ('nobody', '1')`)
	o.becomes("notifier_events_read_total", 1)
	o.becomes("notifier_commit_to_read_seconds_count", 1)
	first, second := o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`), o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`)
	o.becomes("notifier_subscriptions", 2)
	o.becomes("notifier_readers", 0) // live
	o.exec(`INSERT INTO notifier.events (recipient, payload) VALUES ('u', '2'), ('u', '"three"')`)
	o.says(first, "three")
	o.says(second, "three")
	o.becomes("notifier_events_read_total", 3)
	o.becomes("notifier_events_delivered_total", 4)
	o.becomes("notifier_commit_to_read_seconds_count", 2) // transactions
	o.becomes("notifier_commit_to_written_seconds_count", 1)
	s := o.scrape()
	for _, name := range []string{"notifier_commit_to_read_seconds", "notifier_commit_to_written_seconds"} {
		if s[name+"_sum"] <= 0 || s[name+`_bucket{le="30"}`] != s[name+"_count"] {
			t.Errorf("%s: %v seconds in all, %v of %v within 30 s", name, s[name+"_sum"], s[name+`_bucket{le="30"}`], s[name+"_count"])
		}
	}
	before := o.scrape()["notifier_replay_rows_total"] // the other replays, though of nothing, may have met the rows
	o.says(o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`), "three")
	o.becomes("notifier_replay_rows_total", before+2)

	o.becomes("notifier_payloads_too_large_total", 0)
	o.exec(`INSERT INTO notifier.events (recipient, payload) VALUES ('u', to_json(repeat('x', 2000)))`)
	o.becomes("notifier_payloads_too_large_total", 1)
}

// tight are the settings with which a client that does not read soon has events
// wait for it, and is not given up.
var tight = []string{"--send-buffer=16KiB", "--write-timeout=10m", "--ping-interval=1h"}

// A client that does not read has events wait for it, until it does.
func TestMetrics_OutboxDepth(t *testing.T) {
	t.Parallel()
	o := observe(t, tight...)
	ws := o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`)
	o.becomes("notifier_subscriptions", 1)
	o.becomes("notifier_readers", 0)
	o.becomes("notifier_outbox_bytes", 0)
	o.exec(`INSERT INTO notifier.events (recipient, payload)
		SELECT 'u', to_json(repeat('x', 400000)) FROM generate_series(1, 5) UNION ALL SELECT 'u', '"last"'`)
	o.becomes("notifier_outbox_events", 6)
	o.exceeds("notifier_outbox_bytes", 5*400000)
	o.says(ws, "last")
	o.becomes("notifier_outbox_events", 0)
	o.becomes("notifier_outbox_bytes", 0)
}

// One for whom more waits than may reads from the log, until it has caught up.
func TestMetrics_Readers(t *testing.T) {
	t.Parallel()
	o := observe(t, append(tight, "--outbox-bytes=64KiB")...)
	ws := o.dial("/subscribe_to_events", `{"access_id": "u", "timestamp": 0}`)
	o.becomes("notifier_subscriptions", 1)
	o.becomes("notifier_readers", 0)
	caughtUp := o.scrape()["notifier_events_caught_up_total"]
	for range 20 {
		o.exec(`INSERT INTO notifier.events (recipient, payload) VALUES ('u', to_json(repeat('x', 400000)))`)
	}
	o.becomes("notifier_readers", 1)
	o.exec(`INSERT INTO notifier.events (recipient, payload) VALUES ('u', '"last"')`)
	o.says(ws, "last")
	o.becomes("notifier_readers", 0)
	o.exceeds("notifier_events_caught_up_total", caughtUp)
}

func TestMetrics_RefusalsByReason(t *testing.T) {
	t.Parallel()
	o := observe(t, "--max-connections=2", "--max-subscriptions=1", "--max-commands=10")
	for _, reason := range []string{"max_connections", "max_subscriptions"} {
		o.becomes(`notifier_refusals_total{reason="`+reason+`"}`, 0)
	}
	o.becomes("notifier_delayed_commands_total", 0)
	attach := func(id string) string { return `{"action": "attach", "event": {"type": "t", "id": "` + id + `"}}` }
	o.dial("/ws", attach("1"), attach("2"))
	o.becomes(`notifier_refusals_total{reason="max_subscriptions"}`, 1)
	o.dial("/ws", slices.Repeat([]string{attach("1")}, 30)...)
	o.exceeds("notifier_delayed_commands_total", 0)
	if got := statusOfUpgrade(t, o.url+"/ws"); got != http.StatusServiceUnavailable {
		t.Errorf("one connection too many was answered by %d", got)
	}
	o.becomes(`notifier_refusals_total{reason="max_connections"}`, 1)
}

// statusOfUpgrade asks for a WebSocket and returns with what that is refused.
func statusOfUpgrade(t *testing.T, url string) int {
	t.Helper()
	ws, response, err := websocket.Dial(t.Context(), url, nil)
	if err == nil {
		_ = ws.CloseNow()
	}
	if response == nil {
		t.Fatal(err)
	}
	if response.Body != nil {
		response.Body.Close()
	}
	return response.StatusCode
}

func TestMetrics_Access(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	o := observe(t, "--anonymous=false", "--jwt-secret="+secret)
	o.exec(`INSERT INTO notifier.users (user_id) VALUES ('u'), ('v')`)
	tokens := map[string]string{}
	for _, user := range []string{"u", "v"} {
		code, out, err := run(t, []string{"NOTIFIER_JWT_SECRET=" + secret}, "token", "--user", user)
		if code != 0 {
			t.Fatal(err)
		}
		tokens[user] = strings.TrimSpace(out)
	}
	subscribe := func(user string) *websocket.Conn {
		return o.dial("/ws", `{"auth": "`+tokens[user]+`", "action": "attach", "event": {"type": "t", "id": "1"}}`)
	}
	u, v := subscribe("u"), subscribe("v")
	o.becomes("notifier_subscriptions", 2)
	insert := `INSERT INTO notifier.events (type, key, payload) VALUES ('t', '1', to_json($1::text))`
	o.exec(insert, "first")
	o.says(u, "first")
	o.says(v, "first")
	o.becomes("notifier_access_questions_total", 2)
	o.becomes("notifier_access_statements_total", 1)
	before := o.scrape()
	if checks, hits := before["notifier_access_checks_total"], before["notifier_access_cache_hits_total"]; checks != 4 || hits != 2 {
		t.Errorf("%v checks, %v hits: want two that missed, and the same two again", checks, hits)
	}
	o.exec(insert, "second")
	o.says(u, "second")
	o.says(v, "second")
	o.becomes("notifier_access_checks_total", 6)
	o.becomes("notifier_access_cache_hits_total", 4)
	o.becomes("notifier_access_statements_total", 1)

	o.becomes("notifier_access_failures_total", 0)
	o.exec(`ALTER FUNCTION notifier.may_read(text, text, text) RENAME TO may_read_kept`)
	o.exec(`SELECT notifier.access_changed()`)
	o.exceeds("notifier_access_failures_total", 0)
	o.exec(`ALTER FUNCTION notifier.may_read_kept(text, text, text) RENAME TO may_read`)
	o.exec(insert, "third")
	o.says(u, "third")
}

func TestMetrics_Doorbell(t *testing.T) {
	t.Parallel()
	o := observe(t, "--poll-interval=50ms")
	o.becomes("notifier_doorbell_rings_total", 0)
	o.exec(`INSERT INTO notifier.events (key) VALUES ('rings')`)
	o.becomes("notifier_doorbell_rings_total", 1)
	o.exec(`SET notifier.doorbell = off`)
	o.exec(`INSERT INTO notifier.events (key) VALUES ('silent')`)
	o.exceeds("notifier_doorbell_fallback_finds_total", 0)
	o.exceeds("notifier_doorbell_chases_total", 0) // after such a find
	o.becomes("notifier_events_read_total", 2)
}

func TestMetrics_ListenerReconnects(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	proxy := dbtest.NewProxy(t, database)
	o := observeOn(t, database, "--listen-database-url="+proxy.URL())
	o.becomes("notifier_ready", 1)
	o.becomes("notifier_listener_reconnects_total", 0)
	proxy.Refuse()
	proxy.Cut()
	o.becomes("notifier_ready", 0)
	o.exceeds("notifier_listener_reconnects_total", 0)
	proxy.Accept()
	o.becomes("notifier_ready", 1)
}

// Somebody who listens and does not come out of a transaction keeps what is sent
// meanwhile in the queue.
func TestMetrics_NotificationQueueUsage(t *testing.T) {
	t.Parallel()
	o := observe(t)
	deaf := dbtest.Connect(t, o.sql.Config().ConnString())
	for _, statement := range []string{"LISTEN something", "BEGIN"} {
		if _, err := deaf.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	const part = 0.0005 // of 8 GiB, so 4 MiB
	o.exec(`SELECT pg_notify('something', repeat('x', 7000) || n) FROM generate_series(1, 2000) AS n`)
	o.exceeds("notifier_notification_queue_usage_ratio", part)
	if _, err := deaf.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	o.reaches("the queue is empty again", func(s map[string]float64) bool {
		got, ok := s["notifier_notification_queue_usage_ratio"]
		return ok && got < part
	})
}

// A change of a watched table that nobody can be told of is counted, and stays so
// when its note is gone.
func TestMetrics_DroppedEvents(t *testing.T) {
	t.Parallel()
	o := observe(t)
	const sample = "notifier_dropped_events_total"
	o.becomes(sample, 0)
	o.exec(`CREATE TABLE issues (id int PRIMARY KEY, dataset text)`)
	o.exec(`SELECT notifier.watch_table('issues', 'issueUpdate', dataset => 'dataset')`)
	o.exec(`INSERT INTO issues VALUES (1, 'd'), (2, NULL)`)
	o.becomes(sample, 1)
	o.exec(`INSERT INTO issues SELECT generate_series(101, 200)`)
	o.becomes(sample, 101)
}

// Pushes that wait for a lock hold connections, and others wait for these.
func TestMetrics_Pools(t *testing.T) {
	t.Parallel()
	o := observe(t, "--max-conns=2")
	o.becomes(`notifier_pool_max_connections{pool="main"}`, 2)
	o.exceeds(`notifier_pool_acquires_total{pool="live"}`, -1)
	o.exec(`BEGIN; LOCK TABLE notifier.idempotency_keys IN ACCESS EXCLUSIVE MODE`)
	before := o.scrape()
	var pushing sync.WaitGroup
	for range 3 {
		pushing.Go(func() { // ends when the lock is gone
			if code, _, err := run(t, nil, "push", "--url", o.url, "--to", "u", "x"); code != 0 {
				t.Error(err)
			}
		})
	}
	o.becomes(`notifier_pool_connections{pool="main",state="in_use"}`, 2)
	if _, there := o.scrape()["notifier_notification_queue_usage_ratio"]; there {
		t.Error("the queue was asked without a connection to ask by")
	}
	o.exec(`COMMIT`)
	pushing.Wait()
	for _, name := range []string{"notifier_pool_acquires_total", "notifier_pool_waits_total", "notifier_pool_wait_seconds_total"} {
		o.exceeds(name+`{pool="main"}`, before[name+`{pool="main"}`])
	}
	o.exceeds(`notifier_pool_connections{pool="main",state="idle"}`, 0)
}

// Operators are served where they are told to be, and nobody else.
func TestMetrics_OnlyWhereOperatorsAre(t *testing.T) {
	t.Parallel()
	o := observe(t)
	s := o.scrape()
	if s["go_goroutines"] <= 0 || s["process_cpu_seconds_total"] <= 0 {
		t.Error("nothing of the Go runtime and the process")
	}
	built := false
	for sample, value := range s {
		built = built || strings.HasPrefix(sample, "notifier_build_info{") && strings.Contains(sample, `version="`) && value == 1
	}
	if !built {
		t.Error("it does not say which version it is")
	}
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/cmdline": 404, "/": 404} {
		if got := status(t, o.admin+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if got := status(t, o.url+path); got != 404 {
			t.Errorf("the public address answers %s with %d", path, got)
		}
	}
	p, _ := serving(t, dbtest.New(t))
	if strings.Contains(p.err.String(), "operators") {
		t.Error("operators are served without being asked for")
	}
	o.p.signal(syscall.SIGTERM)
	if code := o.p.wait(); code != 0 {
		t.Errorf("code %d, want 0", code)
	}
}

func TestMetrics_BadAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"tls://127.0.0.1:0", "127.0.0.1", ":http"} {
		code, _, err := run(t, []string{"NOTIFIER_ADMIN_ADDR=" + address}, "serve")
		if code != exitFailed || !strings.Contains(err, "NOTIFIER_ADMIN_ADDR: ") {
			t.Errorf("%s: code %d, %s", address, code, err)
		}
	}
}
