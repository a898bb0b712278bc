package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

const drpPath = "/api/v3/ws"

// drpClient is a client in a conversation.
type drpClient struct{ *client }

// drpSystem is a server that takes tokens by a secret.
func drpSystem(t *testing.T, d *directory, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	return setup(t, append([]func(*httpapi.Config){guarded(t, d, bySecret())}, adjust...)...)
}

func (s *system) drp(token string) *drpClient {
	s.t.Helper()
	return &drpClient{s.dial(drpPath, "Authorization: Bearer "+token)}
}

// do sends a command and checks its acknowledgement, which is the next frame.
func (c *drpClient) do(verb, filter string) {
	c.t.Helper()
	c.text(verb + " " + filter)
	c.acknowledged(verb, filter)
}

// acknowledged checks an acknowledgement byte for byte, but for the time, which
// must be now in UTC.
func (c *drpClient) acknowledged(verb, filter string) {
	c.t.Helper()
	got, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for the answer to %s %s: %v", verb, short(filter), err)
	}
	const before = `{"Time":"`
	text, ok := strings.CutPrefix(got.payload, before)
	at, rest, _ := strings.Cut(text, `"`)
	said, err := time.Parse(time.RFC3339Nano, at)
	if !ok || got.op != opText || err != nil || !strings.HasSuffix(at, "Z") || time.Since(said).Abs() > patience {
		c.t.Fatalf("%s %s was answered by %d %q: %v", verb, short(filter), got.op, short(got.payload), err)
	}
	want := fmt.Sprintf(`,"Type":"websocket","Action":%q,"Key":"%s","Principal":"","Object":null,"Original":null}`, verb, jsonText(filter))
	if rest != want {
		c.t.Fatalf("%s %s was answered by …%s, not …%s", verb, short(filter), short(rest), short(want))
	}
}

// silent checks that nothing more has come.
func (c *drpClient) silent() {
	c.t.Helper()
	c.send(0x80|opPing, "anything?")
	c.expect(opPong, "anything?")
}

// machine is an event, and its frame.
func machine(action, key string) (notifier.Event, string) {
	e := notifier.Event{Type: "machines", Action: action, Key: key, CreatedAt: time.Unix(1000, 0)}
	return e, `{"Time":"1970-01-01T00:16:40Z","Type":"machines","Action":"` + action + `","Key":"` + jsonText(key) +
		`","Principal":"","Object":null,"Original":null}`
}

// The conversation of the protocol's document, with what its real server adds.
func TestDRP_Conversation(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	c.silent() // no greeting
	c.do("register", "profiles.*.*")
	e := notifier.Event{
		Type: "profiles", Action: "save", Key: "global", Principal: "user:rocketskates", CreatedAt: time.Date(2017, 12, 21, 23, 4, 5, 123456000, time.UTC),
		Payload: []byte(`{"Available":true, "Name":"global"}`), Original: []byte(`{"Name":"<old>&"}`),
	}
	other := e
	other.Type = "machines"
	d.publish(t, e, other)
	c.expect(opText, `{"Time":"2017-12-21T23:04:05.123456Z","Type":"profiles","Action":"save","Key":"global","Principal":"user:rocketskates",`+
		`"Object":{"Available":true, "Name":"global"},"Original":{"Name":"<old>&"}}`)
	c.do("deregister", "profiles.*.*")
	d.publish(t, e)
	c.silent()
	c.send(0x80|opClose, closePayload(1000, ""))
	if code, _ := c.expectClose(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
}

// An event's texts are JSON, whatever they are; its object goes out as it was
// written; its time fits into RFC 3339.
func TestDRP_EventsOfEveryKind(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	c.do("register", "*.*.*")
	for _, text := range []string{"", `"\`, "<ü>&\u2028", "a\x00\n\x1fb", "a.b,c*"} {
		d.publish(t, notifier.Event{Type: text, Action: text, Key: text, Principal: text, CreatedAt: time.Unix(0, 0)})
		got, err := c.read()
		var said map[string]any
		if err != nil || json.Unmarshal([]byte(got.payload), &said) != nil {
			t.Fatalf("%q: %q, %v", text, got.payload, err)
		}
		for _, key := range []string{"Type", "Action", "Key", "Principal"} {
			if said[key] != text {
				t.Errorf("%s of %q is %q", key, text, said[key])
			}
		}
	}
	for _, object := range []string{`null`, ` {"b" : 1,"a":"\u003c"}`, `[]`, `0`, `"` + strings.Repeat("ü", 50_000) + `"`} {
		d.publish(t, notifier.Event{CreatedAt: time.Unix(0, 1), Payload: []byte(object)})
		c.expect(opText, `{"Time":"1970-01-01T00:00:00.000000001Z","Type":"","Action":"","Key":"","Principal":"","Object":`+object+`,"Original":null}`)
	}
	zone := time.FixedZone("", 3600)
	for want, at := range map[string]time.Time{
		"0001-01-01T00:00:00Z":           notifier.MinTime,
		"0001-01-01T00:00:00.5Z":         time.Date(1, 1, 1, 0, 0, 0, 500_000_000, time.UTC),
		"9999-12-31T23:59:59.999999999Z": notifier.MaxTime,
		"9999-12-31T23:59:59Z":           time.Date(10_000, 1, 1, 0, 59, 59, 0, zone),
		"2026-01-02T03:04:05.000001Z":    time.Date(2026, 1, 2, 4, 4, 5, 1000, zone),
	} {
		d.publish(t, notifier.Event{CreatedAt: at})
		c.expect(opText, `{"Time":"`+want+`","Type":"","Action":"","Key":"","Principal":"","Object":null,"Original":null}`)
	}
}

// Every register and deregister is acknowledged once, with the filter as it was
// sent, whether it changes anything or not.
func TestDRP_Acknowledgements(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	for range 3 {
		c.do("register", "machines.*.*")
	}
	for _, filter := range []string{"nothing.of.that", "machines.*", "machines", "."} {
		c.do("deregister", filter)
		c.do("register", filter)
		c.do("deregister", filter)
	}
	for _, filter := range []string{`a"b\.<ü>.` + "x\u2028x", "websocket.*.*", "a b.c  d.e f", "..", "a.b.c.d.e", `\1\2\3.\9.\`, strings.Repeat("x", 60_000) + ".*.*"} {
		c.do("register", filter)
	}
	for text, filter := range map[string]string{"  register   x.y.z \n": "x.y.z", "register \t x.y.z": "x.y.z"} {
		c.text(text)
		c.acknowledged("register", filter)
	}
	c.send(opText, "regi") // in two fragments
	c.send(0x80|opContinuation, "ster 1.2.3")
	c.acknowledged("register", "1.2.3")
	e, message := machine("save", "1")
	d.publish(t, e)
	c.expect(opText, message) // once, however often it was registered
	c.do("deregister", "machines.*.*")
	d.publish(t, e)
	c.silent()
}

// What is no command is ignored: no answer, and the connection stays.
func TestDRP_WhatIsNoCommand(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	for _, text := range []string{
		"", " ", "register", "register ", "deregister", "Register *.*.*", "REGISTER *.*.*", "unregister *.*.*", "*.*.*", "register\t*.*.*", "register\n*.*.*",
		"hello there", `{"register":"*.*.*"}`, "resumes", strings.Repeat("x", 60_000), "register \xff.*.*",
	} {
		c.text(text)
		c.silent()
	}
	c.send(0x80|opBinary, "register *.*.*")
	c.silent()
	e, message := machine("save", "1")
	d.publish(t, e)
	c.do("register", "*.*.*")
	d.publish(t, e)
	c.expect(opText, message)
}

// Filters are a set: an event that several want comes once, and each can be
// taken back by its own text only.
func TestDRP_FiltersAreASet(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	save, saved := machine("save", "1")
	update, updated := machine("update", "1")
	for _, filter := range []string{"machines.*.*", "machines.save.*", "machines.save,update.1", "*.*.1", "machines.save,save.1"} {
		c.do("register", filter)
	}
	d.publish(t, save, update)
	c.expect(opText, saved)
	c.expect(opText, updated)
	for _, filter := range []string{"machines.*.*", "*.*.1", "machines.update,save.1"} { // the last is another text
		c.do("deregister", filter)
	}
	d.publish(t, save, update)
	c.expect(opText, saved)
	c.expect(opText, updated)
	c.do("deregister", "machines.save,update.1")
	d.publish(t, update, save)
	c.expect(opText, saved)
	c.do("deregister", "machines.save.*")
	c.do("deregister", "machines.save,save.1")
	d.publish(t, save)
	c.silent()
}

// Filters are those of one connection, and so are answers.
func TestDRP_ConnectionsDoNotShareAnything(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	good := token(t, "alice", time.Hour, nil)
	one, two := s.drp(good), s.drp(good)
	one.do("register", "*.*.*")
	two.do("register", "machines.save.*")
	two.do("deregister", "*.*.*")
	e, message := machine("update", "1")
	d.publish(t, e)
	one.expect(opText, message)
	one.silent()
	two.silent()
}

// The real client takes each event of the answers' type for an answer, so none
// comes from elsewhere, whatever is registered.
func TestDRP_AnswersAreNeverEvents(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	c := s.drp(token(t, "alice", time.Hour, nil))
	for _, filter := range []string{"*.*.*", "websocket.*.*", "websocket.register.*", "*.register.1"} {
		c.do("register", filter)
	}
	e, message := machine("register", "1")
	ack := e
	ack.Type = "websocket"
	d.publish(t, ack, e, ack)
	c.expect(opText, message)
	c.silent()
}

// The answer comes before every event that the filter lets in, however close it
// is; and what is published after the answer comes.
func TestDRP_AnswerFirstAndFilterActive(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d)
	good := token(t, "alice", time.Hour, nil)
	e, message := machine("save", "1")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				d.publish(t, e)
			}
		}
	}()
	for range 100 {
		c := s.drp(good)
		c.do("register", "machines.*.*")
		c.expect(opText, message)
		_ = c.Close()
	}
	close(stop)
	<-stopped
	c := s.drp(good)
	for i := range 300 {
		filter := fmt.Sprintf("machines.save.%d", i)
		c.do("register", filter)
		e, message := machine("save", fmt.Sprint(i))
		d.publish(t, e)
		c.expect(opText, message)
		c.do("deregister", filter)
	}
}
