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
	"example.com/notifier/notifier"
)

// instance runs a whole server, over a database, until the test ends.
func instance(t *testing.T, url string, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	d, err := db.Open(t.Context(), db.Config{URL: url, ListenURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	hub := notifier.NewHub(notifier.HubConfig{Log: d, Access: notifier.AccessConfig{Policy: d, Changes: d.AccessChanges, Accounts: d.AccountGenerations}})
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan error, 1)
	go func() { fed <- d.Feed(ctx, hub) }() // ends with the test
	t.Cleanup(func() {
		cancel()
		if err := <-fed; err != nil {
			t.Errorf("feed: %v", err)
		}
	})
	key, err := d.SigningKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole := func(c *httpapi.Config) { c.Hub, c.Store, c.Ready, c.SessionKey = hub, d, d.Ready, key }
	s := setup(t, append([]func(*httpapi.Config){whole}, adjust...)...)
	until(t, "the server is ready", func() bool {
		status, _, _ := s.request("GET", "/readyz", "")
		return status == 200
	})
	return s
}

// list returns the payloads of frames until there are that many events.
func (c *client) list(n int) (payloads []string) {
	c.t.Helper()
	for len(payloads) < n {
		got, err := c.read()
		if err != nil {
			c.t.Fatalf("after %d of %d events: %v", len(payloads), n, err)
		}
		if got.op != opText {
			continue
		}
		var events []struct{ Payload json.RawMessage }
		if err := json.Unmarshal([]byte(got.payload), &events); err != nil {
			c.t.Fatalf("%q: %v", short(got.payload), err)
		}
		for _, e := range events {
			payloads = append(payloads, string(e.Payload))
		}
	}
	return payloads
}

func TestEndToEnd_EveryWayIn(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	s, conn := instance(t, url), dbtest.Connect(t, url)
	c := s.announce("client1", 1000)
	for _, sql := range []string{
		`INSERT INTO notifier.events (type, recipient, payload, created_at) VALUES ('x', 'client1', '{"by":  "insert"}', to_timestamp(1000.5))`,
		`BEGIN; SELECT notifier.publish('y', payload => '"rolled back"', recipient => 'client1'); ROLLBACK`,
		`SELECT notifier.publish('y', payload => '"by function"', recipient => 'client1', created_at => to_timestamp(2000))`,
		`SELECT notifier.publish('y', payload => '"too old"', recipient => 'client1', created_at => to_timestamp(999.9))`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_, _, text := s.request("POST", "/push_events", `[{"accessid":"client1","created_at":3000,"payload":"by push"},{"accessid":"client2","created_at":3000,"payload":"not mine"}]`, asJSON)
	if text != "true" {
		t.Error(text)
	}
	want := []string{
		`[{"accessid":"client1","created_at":1000,"payload":{"by":  "insert"}}]`,
		`[{"accessid":"client1","created_at":2000,"payload":"by function"}]`,
		`[{"accessid":"client1","created_at":3000,"payload":"by push"}]`,
	}
	for _, frame := range want {
		c.expect(opText, frame)
	}
	again := s.announce("client1", 1000)
	again.expect(opText, "["+strings.Trim(want[0], "[]")+","+strings.Trim(want[1], "[]")+","+strings.Trim(want[2], "[]")+"]")
	later := s.announce("client1", 1001)
	later.expect(opText, "["+strings.Trim(want[1], "[]")+","+strings.Trim(want[2], "[]")+"]")
}

func TestEndToEnd_TimesRoundTrip(t *testing.T) {
	t.Parallel()
	s := instance(t, dbtest.New(t))
	live := s.announce("c", -1<<63)
	const year1 = -62135596800
	for _, seconds := range []int64{notifier.MinTime.Unix(), year1 - 1, year1, year1 + 1, -1, 0, 1711709116, 1711709116000, notifier.MaxTime.Unix()} {
		status, _, text := s.request("POST", "/push_events", fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":1}]`, seconds), asJSON)
		if status != 200 {
			t.Fatalf("%d: %d %s", seconds, status, text)
		}
		want := fmt.Sprintf(`{"accessid":"c","created_at":%d,"payload":1}`, seconds)
		live.expect(opText, "["+want+"]")
		replay := s.dial("/subscribe_to_events")
		replay.text(fmt.Sprintf(`{"access_id":"c","timestamp":%d}`, seconds))
		replay.expect(opText, "["+want+"]") // the only one that is not older
	}
	after := s.dial("/subscribe_to_events")
	after.text(fmt.Sprintf(`{"access_id":"c","timestamp":%d}`, notifier.MaxTime.Unix()+1))
	s.live(after)
	status, _, _ := s.request("POST", "/push_events", `[{"accessid":"\ud800\u0041","created_at":1,"payload":"\u0000"}]`, asJSON)
	if status != 200 && status != 400 {
		t.Errorf("status %d", status)
	}
}

func TestEndToEnd_DropUserOnEveryInstance(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	here, there := instance(t, url), instance(t, url)
	clients := []*client{here.announce("c", 0), there.announce("c", 0), there.announce("c", 0)}
	here.caughtUp(clients...)
	here.request("POST", "/push_events", `[{"accessid":"c","created_at":1,"payload":"last"}]`, asJSON)
	if status, _, text := here.request("POST", "/drop_user", `{"drop_access_id":"c"}`, asJSON); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	for _, c := range clients {
		c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"last"}]`)
		if code, reason := c.expectClose(); code != 1000 || reason != "close" {
			t.Errorf("closed with %d %q", code, reason)
		}
	}
}

func TestEndToEnd_RepeatedPushIsStoredOnce(t *testing.T) {
	t.Parallel()
	s := instance(t, dbtest.New(t))
	c := s.announce("c", 0)
	for range 3 {
		for _, key := range []string{"k1", "k2"} {
			status, _, text := s.request("POST", "/push_events",
				fmt.Sprintf(`[{"accessid":"c","created_at":1,"payload":%q},{"accessid":"c","created_at":1,"payload":"once","idempotency_key":"e"}]`, key),
				asJSON, "Idempotency-Key: "+key)
			if status != 200 || text != "true" {
				t.Errorf("%d %s", status, text)
			}
		}
	}
	s.request("POST", "/push_events", `[{"accessid":"c","created_at":1,"payload":"end"}]`, asJSON)
	if got := strings.Join(c.list(4), " "); got != `"k1" "once" "k2" "end"` {
		t.Errorf("got %s", got)
	}
}

func TestEndToEnd_ReplayJoinsLiveWithoutSeam(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	s := instance(t, url)
	const writers, each, subscribers = 4, 60, 12
	var writing sync.WaitGroup
	for w := range writers {
		conn := dbtest.Connect(t, url)
		writing.Go(func() { // ends when it has written its share
			for i := range each {
				sql := fmt.Sprintf(`SELECT notifier.publish('t', payload => '%d', recipient => 'c', created_at => to_timestamp(%d))`, w*each+i, (w*7+i)%50)
				if i%3 == 0 {
					sql = "BEGIN; " + sql + "; SELECT pg_sleep(0.01); COMMIT"
				}
				if _, err := conn.Exec(t.Context(), sql); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var clients []*client
	for range subscribers { // while they write
		clients = append(clients, s.announce("c", 0))
	}
	writing.Wait()
	for n, c := range clients {
		seen := make(map[string]int)
		for _, payload := range c.list(writers * each) {
			seen[payload]++
		}
		c.send(0x80|opPing, "nothing more")
		c.expect(opPong, "nothing more")
		if len(seen) != writers*each {
			t.Errorf("subscriber %d: %d different events of %d", n, len(seen), writers*each)
		}
	}
}

func TestEndToEnd_WithoutItsDatabase(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	proxy := dbtest.NewProxy(t, url)
	s, conn := instance(t, proxy.URL()), dbtest.Connect(t, url)
	c := s.announce("c", 0)
	s.caughtUp(c)
	proxy.Refuse()
	proxy.Cut()
	until(t, "it is not ready", func() bool {
		status, _, _ := s.request("GET", "/readyz", "")
		return status == 503
	})
	status, _, text := s.request("POST", "/push_events", `[{"accessid":"c","created_at":1,"payload":"lost"}]`, asJSON)
	if status != 503 || !strings.Contains(text, "nothing was stored") {
		t.Errorf("%d %q", status, text)
	}
	late := s.dial("/subscribe_to_events")
	late.text(`{"access_id":"d","timestamp":0}`)
	if code, _ := late.expectClose(); code != 1013 {
		t.Errorf("a replay that can't be read: closed with %d", code)
	}
	if _, err := conn.Exec(t.Context(), `SELECT notifier.publish('t', payload => '"meanwhile"', recipient => 'c', created_at => to_timestamp(1))`); err != nil {
		t.Fatal(err)
	}
	proxy.Accept()
	c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"meanwhile"}]`)
	until(t, "it is ready again", func() bool {
		status, _, _ := s.request("GET", "/readyz", "")
		return status == 200
	})
}
