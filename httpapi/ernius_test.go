package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

const asJSON = "Content-Type: application/json"

func TestErnius_PushReachesTheSubscriber(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.announce("client1", 1000)
	status, header, text := s.request("POST", "/push_events", `[{"accessid":"client1","created_at":1000,"payload":"eq"}]`, asJSON)
	if status != 200 || text != "true" || header.Get("Content-Type") != "text/plain;charset=utf-8" {
		t.Errorf("push: %d %q %q", status, text, header.Get("Content-Type"))
	}
	c.expect(opText, `[{"accessid":"client1","created_at":1000,"payload":"eq"}]`)
}

func TestErnius_Announcements(t *testing.T) {
	t.Parallel()
	s := setup(t)
	good := map[string]string{
		"plain":        `{"access_id":"client1","timestamp":2000}`,
		"blanks":       " {\n\t\"access_id\" : \"client1\" , \"timestamp\" : 2000 } \r\n",
		"extra keys":   `{"x":[{"timestamp":"no"}],"access_id":"client1","timestamp":2000,"y":null}`,
		"1.0":          `{"access_id":"client1","timestamp":2000.0}`,
		"exponent":     `{"access_id":"client1","timestamp":2e3}`,
		"largest":      `{"timestamp":9223372036854775807,"access_id":"client1"}`,
		"smallest":     `{"timestamp":-9223372036854775808,"access_id":"client1"}`,
		"last counts":  `{"access_id":7,"timestamp":"x","access_id":"client1","timestamp":2000}`,
		"escaped key":  `{"access\u005fid":"cl\u0069ent1","timestamp":2000}`,
		"empty id":     `{"access_id":"","timestamp":2000}`,
		"other script": `{"access_id":"клиент 😀","timestamp":2000}`,
	}
	bad := map[string]string{
		"empty": ``, "no JSON": `hello`, "list": `[]`, "string": `"client1"`, "null": `null`, "nothing in it": `{}`,
		"no timestamp": `{"access_id":"client1"}`, "no id": `{"timestamp":2000}`,
		"id is a number": `{"access_id":1,"timestamp":2000}`, "id is null": `{"access_id":null,"timestamp":2000}`,
		"half": `{"access_id":"client1","timestamp":1.5}`, "quoted": `{"access_id":"client1","timestamp":"1"}`,
		"null time": `{"access_id":"client1","timestamp":null}`, "65 bits": `{"access_id":"client1","timestamp":9223372036854775808}`,
		"huge exponent": `{"access_id":"client1","timestamp":1e999999999}`, "tiny exponent": `{"access_id":"client1","timestamp":1e-999999999}`,
		"two documents": `{"access_id":"client1","timestamp":1}{}`, "key in capitals": `{"ACCESS_ID":"client1","timestamp":1}`,
		"NUL": `{"access_id":"a\u0000","timestamp":1}`, "not UTF-8": "{\"access_id\":\"\xff\",\"timestamp\":1}",
		"long id": `{"access_id":"` + strings.Repeat("x", 1025) + `","timestamp":1}`,
		"deep":    `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,"access_id":"client1","timestamp":1}`,
	}
	for name, message := range good {
		t.Run("good/"+name, func(t *testing.T) {
			t.Parallel()
			for _, op := range []byte{opText, opBinary} {
				c := s.in(t).dial("/subscribe_to_events")
				c.send(0x80|op, message)
				c.send(0x80|opPing, "still there")
				c.expect(opPong, "still there")
			}
		})
	}
	for name, message := range bad {
		t.Run("bad/"+name, func(t *testing.T) {
			t.Parallel()
			c := s.in(t).dial("/subscribe_to_events")
			c.text(message)
			c.expect(opText, "Wrong JSON announcement")
			if code, _ := c.expectClose(); code != 1008 {
				t.Errorf("closed with %d", code)
			}
		})
	}
}

func TestErnius_AddressesTolerated(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, path := range []string{"/subscribe_to_events", "/subscribe_to_events/", "/subscribe_to_events?a=b&c=d", "/subscribe_to_events/?x"} {
		c := s.dial(path, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate")
		c.text(`{"access_id":"client1","timestamp":2000}`)
		c.send(0x80|opPing, "")
		c.expect(opPong, "")
	}
}

func TestErnius_LaterMessagesAreIgnored(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.announce("client1", 1000)
	c.text(`{"access_id":"client2","timestamp":0}`)
	c.text(`nonsense`)
	c.send(0x80|opBinary, "\xff\xfe")
	c.send(0x80|opPing, "done")
	c.expect(opPong, "done")
	s.push(event("client2", 1000, `"not mine"`), event("client1", 1000, `"mine"`))
	c.expect(opText, `[{"accessid":"client1","created_at":1000,"payload":"mine"}]`)
}

func TestErnius_AnnouncementInFragments(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.dial("/subscribe_to_events")
	message := `{"access_id":"client1","timestamp":1000}`
	c.send(opText, message[:1])
	for i := 1; i < len(message)-1; i++ {
		c.send(opContinuation, message[i:i+1])
		if i == 5 {
			c.send(0x80|opPing, "between")
		}
	}
	c.send(0x80|opContinuation, message[len(message)-1:])
	c.expect(opPong, "between")
	until(t, "the server knows the subscriber", func() bool { return len(s.store.hub.Users()) > 0 })
	s.push(event("client1", 1000, `1`))
	c.expect(opText, `[{"accessid":"client1","created_at":1000,"payload":1}]`)
}

func TestErnius_OneFramePerClientAndPush(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c1, c2 := s.announce("c1", 1000), s.announce("c2", 2500)
	until(t, "both are known", func() bool { return len(s.store.hub.Users()) == 2 })
	_, _, text := s.request("POST", "/push_events", `[
		{"accessid":"c1","created_at":1000,"payload":"a"},
		{"accessid":"c2","created_at":3000,"payload":"b"},
		{"accessid":"c3","created_at":3000,"payload":"nobody"},
		{"accessid":"c1","created_at":500,"payload":"too old"},
		{"accessid":"c1","created_at":2000,"payload":"c"},
		{"accessid":"c1","created_at":2001,"payload":"d"},
		{"accessid":"c2","created_at":2499,"payload":"too old"}]`, asJSON)
	if text != "true" {
		t.Fatal(text)
	}
	c1.expect(opText, `[{"accessid":"c1","created_at":1000,"payload":"a"},{"accessid":"c1","created_at":2000,"payload":"c"},{"accessid":"c1","created_at":2001,"payload":"d"}]`)
	c2.expect(opText, `[{"accessid":"c2","created_at":3000,"payload":"b"}]`)
}

func TestErnius_PayloadPassesUnchanged(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.announce("c", 0)
	for _, payload := range []string{
		`"text"`, `null`, `{"b":1,"a":[1.0, 1e5],"b":2}`, `-0.00`, `"\u0000 \ud83d\ude00 <&>"`, `[ ]`,
	} {
		status, _, text := s.request("POST", "/push_events", `[{"payload":`+payload+`,"created_at":0.0,"accessid":"c","extra":{}}]`, asJSON)
		if status != 200 {
			t.Fatalf("%s: %d %s", payload, status, text)
		}
		c.expect(opText, `[{"accessid":"c","created_at":0,"payload":`+payload+`}]`)
	}
}

func TestErnius_EveryConnectionOfAUserReceives(t *testing.T) {
	t.Parallel()
	s := setup(t)
	first, second, third := s.announce("c", 0), s.announce("c", 0), s.announce("c", 0)
	for _, c := range []*client{first, second, third} {
		s.live(c)
	}
	_, _, text := s.request("GET", "/clients", "")
	if want := "Connected clients:c "; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	second.send(0x80|opClose, closePayload(1000, ""))
	second.expectClose()
	s.push(event("c", 1, `"after"`))
	for _, c := range []*client{first, third} {
		c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"after"}]`)
	}
}

func TestErnius_DropUserClosesAllAfterWhatIsQueued(t *testing.T) {
	t.Parallel()
	s := setup(t)
	clients := []*client{s.announce("c", 0), s.announce("c", 0)}
	other := s.announce("other", 0)
	s.caughtUp(clients...)
	s.push(event("c", 1, `"last"`))
	for range 2 { // connected or not
		status, _, text := s.request("POST", "/drop_user", `{"drop_access_id":"c","x":1}`, asJSON)
		if status != 200 || text != "true" {
			t.Errorf("%d %q", status, text)
		}
	}
	for _, c := range clients {
		c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"last"}]`)
		if code, reason := c.expectClose(); code != 1000 || reason != "close" {
			t.Errorf("closed with %d %q", code, reason)
		}
	}
	s.push(event("other", 1, `"unharmed"`))
	other.expect(opText, `[{"accessid":"other","created_at":1,"payload":"unharmed"}]`)
	_, _, text := s.request("GET", "/clients", "")
	if want := "Connected clients:other "; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestErnius_ClientsListsEachOnce(t *testing.T) {
	t.Parallel()
	s := setup(t)
	_, header, text := s.request("GET", "/clients", "")
	if text != "Connected clients:" || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("nobody: %q %v", text, header)
	}
	s.announce("client2", 0)
	s.announce("client1", 0)
	s.announce("client2", 0)
	_ = s.dial("/subscribe_to_events") // has not said who it is
	until(t, "all are listed", func() bool {
		_, _, text := s.request("GET", "/clients", "")
		return text == "Connected clients:client1 client2 "
	})
}

func TestErnius_ClientsCloseIsEchoed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, payload := range []string{closePayload(1000, ""), closePayload(1001, "going away"), closePayload(4321, "ü"), ""} {
		for _, announced := range []bool{true, false} {
			c := s.dial("/subscribe_to_events")
			if announced {
				c.text(`{"access_id":"client1","timestamp":2000}`)
			}
			c.send(0x80|opClose, payload)
			c.expect(opClose, payload)
			if _, err := c.in.ReadByte(); err == nil {
				t.Error("the connection goes on")
			}
		}
	}
}

func TestErnius_ReplayIsSentBeforeLive(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.push(event("c", 30, `"third"`), event("c", 10, `"first"`), event("c", 9, `"too old"`), event("d", 20, `"not mine"`))
	s.push(event("c", 20, `"second"`))
	c := s.announce("c", 10)
	c.expect(opText, `[{"accessid":"c","created_at":10,"payload":"first"},{"accessid":"c","created_at":20,"payload":"second"},{"accessid":"c","created_at":30,"payload":"third"}]`)
	s.push(event("c", 11, `"live"`), event("c", 9, `"too old"`))
	c.expect(opText, `[{"accessid":"c","created_at":11,"payload":"live"}]`)
}

func TestErnius_ReplayHoldsLiveBackAndIsCutIntoFrames(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const pages, perPage = 3, 40
	payload := `"` + strings.Repeat("x", 5000) + `"` // 40 of them are more than one frame may hold
	for i := range pages * perPage {
		s.push(event("c", int64(i), payload))
	}
	s.store.pageSize = perPage
	s.store.replaying = func(page int) { // something happens while the replay is under way
		s.push(event("c", 1000+int64(page), `"live"`))
	}
	c := s.announce("c", 0)
	for n := 0; n < pages*perPage; {
		got, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got.payload, "live") || len(got.payload) > 70<<10 {
			t.Fatalf("after %d replayed events: %d bytes %q", n, len(got.payload), short(got.payload))
		}
		for ; strings.Contains(got.payload, fmt.Sprintf(`"created_at":%d,`, n)); n++ {
		}
	}
	for page := range pages {
		c.expect(opText, fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":"live"}]`, 1000+page))
	}
}

func TestErnius_TimestampsAtTheEnds(t *testing.T) {
	t.Parallel()
	s := setup(t)
	first, last := event("c", 0, `"first"`), event("c", 0, `"last"`)
	first.CreatedAt, last.CreatedAt = notifier.MinTime, notifier.MaxTime
	s.push(first, last)
	all := fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":"first"},{"accessid":"c","created_at":%d,"payload":"last"}]`,
		notifier.MinTime.Unix(), notifier.MaxTime.Unix())
	for timestamp, want := range map[int64]string{
		-1 << 63: all, notifier.MinTime.Unix(): all,
		notifier.MaxTime.Unix():     fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":"last"}]`, notifier.MaxTime.Unix()),
		notifier.MaxTime.Unix() + 1: "", 1<<63 - 1: "",
	} {
		c := s.dial("/subscribe_to_events")
		c.text(fmt.Sprintf(`{"access_id":"c","timestamp":%d}`, timestamp))
		if want != "" {
			c.expect(opText, want)
		}
		c.send(0x80|opPing, "nothing else")
		c.expect(opPong, "nothing else")
	}
}

func TestErnius_FailedReplayNeverGoesLive(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.store.pageSize = 1
	s.push(event("c", 1, `1`), event("c", 2, `2`))
	s.store.replaying = func(page int) {
		if page == 1 {
			s.push(event("c", 3, `"live, after a hole"`))
			s.store.breakReplay(errors.New("no database"))
		}
	}
	c := s.dial("/subscribe_to_events")
	c.text(`{"access_id":"c","timestamp":0}`)
	c.expect(opText, `[{"accessid":"c","created_at":1,"payload":1}]`)
	got, err := c.read()
	if err != nil || got.op != opClose {
		t.Fatalf("%q, %v", got.payload, err)
	}
	if code, reason := closeParts(got.payload); code != 1013 {
		t.Errorf("closed with %d %q", code, reason)
	}
}

func TestErnius_ReplaysWaitForAPlace(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxReplays = 1 })
	s.push(event("c", 1, `1`))
	for range 20 {
		s.dial("/subscribe_to_events").text(`{"access_id":"c","timestamp":0}`)
	}
	for range 20 {
		c := s.announce("c", 0)
		c.expect(opText, `[{"accessid":"c","created_at":1,"payload":1}]`)
	}
}

func TestErnius_AnnouncementSentWithTheHandshake(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.push(event("c", 1, `"stored"`))
	for _, padding := range []int{0, 100, 1000, 3000, 20_000} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		message := `{"access_id":"c","timestamp":1` + strings.Repeat(" ", padding) + `}`
		_, err = io.WriteString(conn, upgradeRequest("/subscribe_to_events", "Host: localhost")+
			string(masked(0x80|opText, message))+string(masked(0x80|opPing, "and this")))
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		if answer, err := http.ReadResponse(c.in, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(answer, err)
		}
		frames := make(map[string]bool)
		for range 2 {
			got, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			frames[got.payload] = true
		}
		if !frames["and this"] || !frames[`[{"accessid":"c","created_at":1,"payload":"stored"}]`] {
			t.Errorf("padded with %d: got %v", padding, frames)
		}
	}
}
