package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"github.com/jackc/pgx/v5"
)

// resuming is a server with a log, for clients with cursors.
type resuming struct {
	*system
	conn *pgx.Conn
}

func newResuming(t *testing.T, adjust ...func(*httpapi.Config)) *resuming {
	t.Helper()
	url := dbtest.New(t)
	types := func(c *httpapi.Config) { c.SysadmTypes = []string{"*"} }
	return &resuming{instance(t, url, append([]func(*httpapi.Config){types}, adjust...)...), dbtest.Connect(t, url)}
}

// commit stores an event of type t for user u, with a key, and returns its number.
func (r *resuming) commit(key string, n int) {
	r.t.Helper()
	if _, err := r.conn.Exec(r.t.Context(), `INSERT INTO notifier.events (type, action, key, recipient, payload, created_at)
		VALUES ('t', 'save', $1, 'u', $2::int::text::json, to_timestamp($2::int))`, key, n); err != nil {
		r.t.Fatal(err)
	}
}

// position is the database's cursor of this moment.
func (r *resuming) position() (cursor string) {
	r.t.Helper()
	if err := r.conn.QueryRow(r.t.Context(), `SELECT notifier.position()`).Scan(&cursor); err != nil {
		r.t.Fatal(err)
	}
	return cursor
}

// passed waits until the server has read what was committed.
func (r *resuming) passed() {
	r.t.Helper()
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"nobody","cursor":"` + r.position() + `"}`)
	c.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
}

// shape is a frame with its cursors replaced by CURSOR; it returns them as well.
func shape(t *testing.T, text string) (plain string, cursors []string) {
	t.Helper()
	for {
		at := strings.Index(text, `ursor":"`)
		if at < 0 {
			return plain + text, cursors
		}
		at += len(`ursor":"`)
		end := at + strings.IndexByte(text[at:], '"')
		if text[at:end] != "" {
			cursors = append(cursors, text[at:end])
			plain += text[:at] + "CURSOR"
		} else {
			plain += text[:at]
		}
		text = text[end:]
	}
}

// readText reads the next frame that is no ping.
func (c *client) readText() (got frame, err error) {
	for got.op != opText && err == nil {
		got, err = c.read()
	}
	return got, err
}

// expectShape reads a frame and returns its last cursor.
func (c *client) expectShape(want string) (cursor string) {
	c.t.Helper()
	got, err := c.readText()
	if err != nil {
		c.t.Fatalf("%v, want %s", err, want)
	}
	plain, cursors := shape(c.t, got.payload)
	if plain != want {
		c.t.Fatalf("got  %s\nwant %s", plain, want)
	}
	if len(cursors) == 0 {
		return ""
	}
	return cursors[len(cursors)-1]
}

func TestResume_Ernius(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	r.commit("a", 1)
	r.passed()
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":""}`)
	c.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	r.commit("a", 2)
	at := c.expectShape(`[{"accessid":"u","created_at":2,"payload":2,"cursor":"CURSOR"}]`)
	r.commit("a", 3)
	r.commit("a", 4)
	c.list(2)

	again := r.dial("/subscribe_to_events")
	again.text(`{"access_id":"u","cursor":"` + at + `"}`)
	if told := again.expectShape(`{"verdict":"replayed","replayed":2,"cursor":"CURSOR"}`); told != at {
		t.Error("while it is owed events, the client is told of another cursor than its own")
	}
	again.expectShape(`[{"accessid":"u","created_at":3,"payload":3,"cursor":"CURSOR"}]`)
	last := again.expectShape(`[{"accessid":"u","created_at":4,"payload":4,"cursor":"CURSOR"}]`)
	r.commit("a", 5)
	again.expectShape(`[{"accessid":"u","created_at":5,"payload":5,"cursor":"CURSOR"}]`)

	late := r.dial("/subscribe_to_events")
	late.text(`{"access_id":"u","cursor":"` + last + `","timestamp":6}`) // what is older it does not want
	late.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)

	bad := r.dial("/subscribe_to_events")
	bad.text(`{"access_id":"u","cursor":"made up"}`)
	bad.expect(opText, "Not a cursor of this server")
	bad.expectClose()
}

// With a time and no cursor yet, what is stored comes by its time, and the first
// cursor behind it.
func TestResume_ErniusBeginsByTime(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	r.commit("a", 2)
	r.commit("a", 1)
	r.passed()
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":"","timestamp":0}`)
	c.expectShape(`{"verdict":"resumed","replayed":0,"cursor":""}`)
	c.expectShape(`[{"accessid":"u","created_at":1,"payload":1,"cursor":null},{"accessid":"u","created_at":2,"payload":2,"cursor":null}]`)
	at := c.expectShape(`{"cursor":"CURSOR"}`)
	r.commit("a", 3)
	c.expectShape(`[{"accessid":"u","created_at":3,"payload":3,"cursor":"CURSOR"}]`)
	again := r.dial("/subscribe_to_events")
	again.text(`{"access_id":"u","cursor":"` + at + `"}`)
	again.expectShape(`{"verdict":"replayed","replayed":1,"cursor":"CURSOR"}`)
}

func TestResume_Airlay(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	attach := func(c *client, id, cursor string) {
		c.text(`{"action":"attach","event":{"type":"t","id":"` + id + `"},"cursor":"` + cursor + `"}`)
	}
	c := r.dial("/ws")
	attach(c, "a", "")
	start := c.expectShape(`{"status":200,"message":"Ok","code":0,"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	r.commit("a", 1)
	at := c.expectShape(`{"type":"t","id":"a","data":[1],"cursor":"CURSOR"}`)
	r.commit("b", 2)
	r.passed()
	attach(c, "b", start) // from before a's event, which does not come again
	c.expectShape(`{"status":200,"message":"Ok","code":0,"verdict":"replayed","replayed":1,"cursor":"CURSOR"}`)
	c.expectShape(`{"type":"t","id":"b","data":[2],"cursor":"CURSOR"}`)
	r.commit("a", 3)
	c.expectShape(`{"type":"t","id":"a","data":[3],"cursor":"CURSOR"}`)
	attach(c, "a", "nonsense")
	c.expectShape(`{"status":400,"message":"Invalid request","code":5}`)
	again := r.dial("/ws")
	attach(again, "a", at)
	again.expectShape(`{"status":200,"message":"Ok","code":0,"verdict":"replayed","replayed":1,"cursor":"CURSOR"}`)
	again.expectShape(`{"type":"t","id":"a","data":[3],"cursor":"CURSOR"}`)
}

// drpShape leaves the time out, too.
func (c *client) drpShape(want string) (key string) {
	c.t.Helper()
	got, err := c.readText()
	if err != nil {
		c.t.Fatalf("%v, want %s", err, want)
	}
	var m struct {
		Time   string
		Key    string
		Action string
	}
	if err := json.Unmarshal([]byte(got.payload), &m); err != nil {
		c.t.Fatal(err)
	}
	plain, cursors := shape(c.t, strings.Replace(got.payload, m.Time, "TIME", 1))
	if m.Action == "resume" || m.Action == "cursor" {
		plain = strings.Replace(plain, m.Key, "CURSOR", 1)
		cursors = append(cursors, m.Key)
	}
	if plain != want {
		c.t.Fatalf("got  %s\nwant %s", plain, want)
	}
	if len(cursors) == 0 {
		return ""
	}
	return cursors[0]
}

func TestResume_DRP(t *testing.T) {
	t.Parallel()
	r := newResuming(t, func(c *httpapi.Config) { c.PingInterval = 100 * time.Millisecond })
	const ack = `{"Time":"TIME","Type":"websocket","Action":"%s","Key":"%s","Principal":"","Object":%s,"Original":null}`
	event := func(key string, n int, cursor string) string {
		return fmt.Sprintf(`{"Time":"TIME","Type":"t","Action":"save","Key":"%s","Principal":"","Object":%d,"Original":null%s}`, key, n, cursor)
	}
	start := r.position()
	c := r.dial(drpPath)
	c.text("register t.*.a")
	c.drpShape(fmt.Sprintf(ack, "register", "t.*.a", "null"))
	r.commit("a", 1)
	c.drpShape(event("a", 1, "")) // without a cursor: it comes again
	c.text("register t.*.b")
	c.drpShape(fmt.Sprintf(ack, "register", "t.*.b", "null"))
	c.text("resume " + start)
	c.drpShape(fmt.Sprintf(ack, "resume", "CURSOR", `{"verdict":"replayed","replayed":1}`))
	at := c.drpShape(event("a", 1, `,"Cursor":"CURSOR"`))
	r.commit("b", 2)
	c.drpShape(event("b", 2, `,"Cursor":"CURSOR"`))
	if _, err := r.conn.Exec(t.Context(), `INSERT INTO notifier.events (type) VALUES ('something else')`); err != nil {
		t.Fatal(err)
	}
	moved := c.drpShape(fmt.Sprintf(ack, "cursor", "CURSOR", "null")) // by a heartbeat
	c.text("resume made up")
	if key := c.drpShape(fmt.Sprintf(ack, "resume", "CURSOR", `{"error":"not a cursor of this server"}`)); key != "made up" {
		t.Error(key)
	}
	for cursor, missed := range map[string]string{at: `{"verdict":"replayed","replayed":1}`, moved: `{"verdict":"resumed","replayed":0}`} {
		again := r.dial(drpPath)
		again.text("register *.*.b")
		again.drpShape(fmt.Sprintf(ack, "register", "*.*.b", "null"))
		again.text("resume " + cursor)
		again.drpShape(fmt.Sprintf(ack, "resume", "CURSOR", missed))
	}
}

func TestResume_Sysadm(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	start := r.position()
	r.commit("a", 1)
	r.passed()
	subscribe := func(cursor string) *client {
		c := r.dial("/")
		c.text(`{"namespace":"events","name":"subscribe","id":"i","args":["t"],"cursor":"` + cursor + `"}`)
		return c
	}
	c := subscribe(start)
	c.expectShape(`{"args":{"subscribe":"t","verdict":"replayed","replayed":1,"cursor":"CURSOR"},"id":"i","name":"response","namespace":"events"}`)
	at := c.expectShape(`{"args":1,"cursor":"CURSOR","id":"","name":"t","namespace":"events"}`)
	subscribe(at).expectShape(`{"args":{"subscribe":"t","verdict":"resumed","replayed":0,"cursor":"CURSOR"},"id":"i","name":"response","namespace":"events"}`)
	subscribe("x").expect(opText, `{"args":{"code":"400","message":"Bad Request"},"id":"i","name":"error","namespace":"error"}`)
}

// What is not stored any more is a gap, and the client goes on from now.
func TestResume_Gap(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	start := r.position()
	r.commit("a", 1)
	retention, err := db.Open(t.Context(), db.Config{URL: r.conn.Config().ConnString(), Retention: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer retention.Close()
	if removed, err := retention.RetainOnce(t.Context()); err != nil || removed != 1 {
		t.Fatalf("%d events removed, %v", removed, err)
	}
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":"` + start + `"}`)
	at := c.expectShape(`{"verdict":"gap","replayed":0,"cursor":"CURSOR"}`)
	r.commit("a", 2)
	c.expectShape(`[{"accessid":"u","created_at":2,"payload":2,"cursor":"CURSOR"}]`)
	again := r.dial("/subscribe_to_events")
	again.text(`{"access_id":"u","cursor":"` + at + `"}`)
	again.expectShape(`{"verdict":"replayed","replayed":1,"cursor":"CURSOR"}`)
}

// More than is held at once is counted first and read again.
func TestResume_ALargeBacklog(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	start := r.position()
	if _, err := r.conn.Exec(t.Context(), `INSERT INTO notifier.events (type, recipient, payload)
		SELECT 't', 'u', n::text::json FROM generate_series(1, 25000) n`); err != nil {
		t.Fatal(err)
	}
	r.passed()
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":"` + start + `"}`)
	c.expectShape(`{"verdict":"replayed","replayed":25000,"cursor":"CURSOR"}`)
	for n, payload := range c.list(25_000) {
		if payload != fmt.Sprint(n+1) {
			t.Fatalf("event %d is %s", n+1, payload)
		}
	}
}

// A server that stops gives who is connected the cursor to go on with at the next.
func TestResume_DrainGivesTheCursor(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":""}`)
	before := c.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	if _, err := r.conn.Exec(t.Context(), `INSERT INTO notifier.events (type, recipient) VALUES ('t', 'somebody else')`); err != nil {
		t.Fatal(err)
	}
	r.passed()
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }() // ends when the server has
	if at := c.expectShape(`{"cursor":"CURSOR"}`); at == before {
		t.Error("the cursor has not moved")
	}
	code, reason := c.expectClose()
	if code != 1012 || !strings.Contains(reason, "retry in") {
		t.Errorf("closed with %d %q", code, reason)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
