package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// What airlay's clients read, byte for byte.
const (
	airlayOK      = `{"status":200,"message":"Ok","code":0}`
	airlayNoToken = `{"status":400,"message":"Token not set","code":1}`
	airlayInvalid = `{"status":400,"message":"Invalid token","code":2}`
	airlayNoUser  = `{"status":400,"message":"User not exists","code":3}`
	airlayDenied  = `{"status":400,"message":"Not access for dataset","code":4}`
	airlayBad     = `{"status":400,"message":"Invalid request","code":5}`
)

// The user and the object of the document's sample.
const (
	airlayUser   = "5dad615eae019570fb4647ed"
	airlayObject = "610217e481f6fc54736209e0"
	otherUser    = "5dad615eae019570fb4647ee"
)

// airlay is a client in a conversation.
type airlayClient struct {
	*client
	token string
}

// airlaySystem is a server that takes airlay's tokens.
func airlaySystem(t *testing.T, d *directory, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	return setup(t, append([]func(*httpapi.Config){guarded(t, d, asAirlay(t))}, adjust...)...)
}

func (s *system) airlay(token string) *airlayClient {
	s.t.Helper()
	return &airlayClient{s.dial("/ws"), token}
}

// say sends a request in the form of the document.
func (c *airlayClient) say(action, eventType, id string) {
	c.t.Helper()
	c.text(airlayRequest(c.token, action, eventType, id))
}

func airlayRequest(token, action, eventType, id string) string {
	return fmt.Sprintf(`{"auth":%q,"action":%q,"event":{"type":%q,"id":%q}}`, token, action, eventType, id)
}

// ask sends a request and checks its answer, which is the next frame.
func (c *airlayClient) ask(action, eventType, id, answer string) {
	c.t.Helper()
	c.say(action, eventType, id)
	c.expect(opText, answer)
}

// silent checks that nothing has come but the answer to a last, bad request.
func (c *airlayClient) silent() {
	c.t.Helper()
	c.text(`[]`)
	c.expect(opText, airlayBad)
}

// about makes an event of an object.
func about(eventType, id, payload string) notifier.Event {
	e := notifier.Event{Type: eventType, Key: id, CreatedAt: time.Unix(1000, 0)}
	if payload != "" {
		e.Payload = []byte(payload)
	}
	return e
}

// The sample request of the protocol's document, as it is written there, with
// its token signed anew: same header, same claims but for the time.
func TestAirlay_SampleOfTheDocument(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	request := strings.ReplaceAll(`{ "auth": "TOKEN", "action": "attach", `+
		`"event": { "type": "issueUpdate", "id": "610217e481f6fc54736209e0" } }`, "TOKEN", airlayToken(t, airlayUser, 2*time.Hour))
	if len(request) < 1000 {
		t.Errorf("the request has only %d bytes", len(request))
	}
	c := s.dial("/ws")
	c.text(request)
	c.expect(opText, `{"status":200,"message":"Ok","code":0}`)
	d.publish(t, about("issueUpdate", airlayObject, "[]"))
	c.expect(opText, `{"type":"issueUpdate","id":"610217e481f6fc54736209e0","data":[]}`)
}

// The token of the document itself is long expired, and its key is not ours.
func TestAirlay_TokenOfTheDocumentIsExpired(t *testing.T) {
	t.Parallel()
	const payload = `{"iat":1711709116,"jti":"NlYqflG2rkg6fbYQW7zbuBK4krjlLcJ/z3M13OjwJKg=","iss":"dev.airlay.ru","exp":1711716316,` +
		`"data":{"name":"a.kalinin","id":"5dad615eae019570fb4647ed"}}`
	old := signRaw(t, "RS256", airlayKey(), `{"typ":"JWT","alg":"RS256"}`, payload)
	s := airlaySystem(t, newDirectory(airlayUser))
	s.airlay(old).ask("attach", "issueUpdate", airlayObject, airlayInvalid)

	config := asAirlay(t)
	config.Clock = func() time.Time { return time.Unix(1711709117, 0) }
	s = setup(t, guarded(t, newDirectory(airlayUser), config))
	c := s.airlay(old)
	c.say("attach", "issueUpdate", airlayObject)
	c.expect(opText, airlayOK) // its time was good; it is over, so it is told next
	c.expect(opText, airlayInvalid)
}

// publish commits events through the store.
func (d *directory) publish(t *testing.T, events ...notifier.Event) {
	t.Helper()
	if err := d.Publish(t.Context(), notifier.Publication{Events: events}); err != nil {
		t.Fatal(err)
	}
}

// Each answer, in the order of the checks: what is wrong in two ways is told the
// first of them.
func TestAirlay_AnswersInTheOrderOfTheChecks(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	d.allowed[airlayUser+" open"] = true
	s := airlaySystem(t, d)
	good, expired, nobody := airlayToken(t, airlayUser, time.Hour), airlayToken(t, airlayUser, -time.Hour), airlayToken(t, "nobody", time.Hour)
	issue := `"action":"attach","event":{"type":"issueUpdate","id":"1"}`
	with := func(token, rest string) string { return fmt.Sprintf(`{"auth":%q,%s}`, token, rest) }
	for _, c := range []struct{ request, answer string }{
		// Not an object.
		{``, airlayBad}, {`no`, airlayBad}, {`[]`, airlayBad}, {`null`, airlayBad}, {`"attach"`, airlayBad}, {`1`, airlayBad},
		{`{`, airlayBad}, {with(good, issue) + `}`, airlayBad}, {with(good, issue) + with(good, issue), airlayBad}, {"{\"auth\":\"\xff\"}", airlayBad},
		// No token.
		{`{}`, airlayNoToken}, {`{` + issue + `}`, airlayNoToken}, {`{"auth":null,` + issue + `}`, airlayNoToken}, {with("", issue), airlayNoToken},
		{`{"AUTH":"` + good + `",` + issue + `}`, airlayNoToken}, {with("", `"action":1`), airlayNoToken},
		// No good token.
		{with("x", issue), airlayInvalid}, {with(" ", issue), airlayInvalid}, {`{"auth":1,` + issue + `}`, airlayInvalid},
		{`{"auth":{},` + issue + `}`, airlayInvalid}, {`{"auth":["` + good + `"],` + issue + `}`, airlayInvalid}, {`{"auth":true,` + issue + `}`, airlayInvalid},
		{with(expired, issue), airlayInvalid}, {with(good+"x", issue), airlayInvalid}, {with(good[:len(good)-9], issue), airlayInvalid},
		{with("Bearer "+good, issue), airlayInvalid}, {with(expired, `"action":"no"`), airlayInvalid}, {`{"auth":"x"}`, airlayInvalid},
		{with(good, `"auth":"x",`+issue), airlayInvalid}, // of a repeated key, the last counts
		// No user.
		{with(nobody, issue), airlayNoUser}, {with(nobody, `"action":"no"`), airlayNoUser}, {with(nobody, `"x":0`), airlayNoUser},
		{with(nobody, `"action":"detach","event":{"type":"issueUpdate","id":"1"}`), airlayNoUser},
		// A bad request.
		{with(good, `"x":0`), airlayBad}, {with(good, `"action":"attach"`), airlayBad}, {with(good, `"event":{"type":"issueUpdate","id":"1"}`), airlayBad},
		{with(good, `"action":"Attach","event":{"type":"issueUpdate","id":"1"}`), airlayBad},
		{with(good, `"action":"subscribe","event":{"type":"issueUpdate","id":"1"}`), airlayBad},
		{with(good, `"action":["attach"],"event":{"type":"issueUpdate","id":"1"}`), airlayBad},
		{with(good, `"action":"attach","event":null`), airlayBad}, {with(good, `"action":"attach","event":[]`), airlayBad},
		{with(good, `"action":"attach","event":"issueUpdate"`), airlayBad}, {with(good, `"action":"attach","event":{}`), airlayBad},
		{with(good, `"action":"attach","event":{"id":"1"}`), airlayBad}, {with(good, `"action":"attach","event":{"type":"","id":"1"}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":1,"id":"1"}`), airlayBad}, {with(good, `"action":"attach","event":{"type":null,"id":"1"}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"issueUpdate"}`), airlayBad}, {with(good, `"action":"attach","event":{"type":"issueUpdate","id":""}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"issueUpdate","id":null}`), airlayBad}, {with(good, `"action":"attach","event":{"type":"issueUpdate","id":7}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"notification","id":7}`), airlayBad}, {with(good, `"action":"attach","event":{"type":"notification","id":{}}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"issue\u0000Update","id":"1"}`), airlayBad}, {with(good, `"action":"attach","event":{"type":"issueUpdate","id":"\u0000"}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"issueUpdate","id":"`+strings.Repeat("x", 1025)+`"}`), airlayBad},
		{with(good, `"action":"attach","event":{"type":"datasetUpdate","id":7}`), airlayBad},
		{with(good, `"action":"detach","event":{"type":"datasetUpdate"}`), airlayBad},
		// No access.
		{with(good, `"action":"attach","event":{"type":"datasetUpdate","id":"closed"}`), airlayDenied},
		{with(good, `"action":"attach","event":{"type":"uploadFile","id":"closed"}`), airlayDenied},
		// All good.
		{with(good, `"action":"attach","event":{"type":"datasetUpdate","id":"open"}`), airlayOK},
		{with(good, `"action":"attach","event":{"type":"uploadFile","id":"open"}`), airlayOK},
		{with(good, `"action":"attach","event":{"type":"downloadFile","id":"closed"}`), airlayOK},
		{with(good, `"action":"attach","event":{"type":"issueUpdate","id":"`+strings.Repeat("x", 1024)+`"}`), airlayOK},
		{with(good, `"action":"attach","event":{"type":"another","id":"1"}`), airlayOK},
		{with(good, `"action":"attach","event":{"type":"notification"}`), airlayOK},
		{"\n\t" + with(good, `"more":[{}],"action":"attach","event":{"id":"1","more":1,"type":"issueUpdate"}`) + " \r\n", airlayOK},
		{with(good, `"action":"detach","event":{"type":"datasetUpdate","id":"closed"}`), airlayOK}, // not attached: no matter
	} {
		client := s.airlay("")
		client.text(c.request)
		got, err := client.read()
		if err != nil || got != (frame{opText, c.answer}) {
			t.Errorf("%s\nis answered with %d %q, %v, want %s", short(c.request), got.op, got.payload, err, c.answer)
		}
		client.say("attach", "issueUpdate", "1") // the connection goes on
		client.expect(opText, airlayNoToken)
		_ = client.Close()
	}
}

// A binary frame is a text, as in the other protocols.
func TestAirlay_BinaryFrames(t *testing.T) {
	t.Parallel()
	s := airlaySystem(t, newDirectory(airlayUser))
	c := s.airlay("")
	c.send(0x80|opBinary, airlayRequest(airlayToken(t, airlayUser, time.Hour), "attach", "issueUpdate", "1"))
	c.expect(opText, airlayOK)
	c.send(0x80|opBinary, "\x00\x01")
	c.expect(opText, airlayBad)
}

// Fragments make one request.
func TestAirlay_Fragments(t *testing.T) {
	t.Parallel()
	s := airlaySystem(t, newDirectory(airlayUser))
	c := s.airlay("")
	request := airlayRequest(airlayToken(t, airlayUser, time.Hour), "attach", "issueUpdate", "1")
	c.send(opText, request[:100])
	c.send(0x80|opPing, "between")
	c.send(opContinuation, request[100:500])
	c.send(0x80|opContinuation, request[500:])
	c.expect(opPong, "between")
	c.expect(opText, airlayOK)
}

// A message beyond the limit ends the connection; a large one below it, and one
// that is deeply nested, are requests like others.
func TestAirlay_HugeMessages(t *testing.T) {
	t.Parallel()
	s := airlaySystem(t, newDirectory(airlayUser))
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.text(`{"auth":"` + strings.Repeat("x", 60_000) + `"}`)
	c.expect(opText, airlayInvalid)
	c.text(`{"auth":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + `}`)
	c.expect(opText, airlayBad) // deeper than any parser goes
	c.text(`{"auth":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`)
	c.expect(opText, airlayInvalid)
	c.text(strings.Repeat(`{"auth":`, 8_000))
	c.expect(opText, airlayBad)
	c.text(`{"auth":"","x":"` + strings.Repeat(`\u0000`, 10_000) + `"}`)
	c.expect(opText, airlayNoToken)
	c.ask("attach", "issueUpdate", "1", airlayOK)
	c.text(`{"auth":"` + strings.Repeat("x", 70_000) + `"}`)
	if code, _ := c.expectClose(); code != 1009 {
		t.Errorf("closed with %d", code)
	}
}

// Requests are answered one after the other, each once, also if they come all at
// once; and an event that a request lets in comes after its answer.
func TestAirlay_PipelinedRequests(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	good := airlayToken(t, airlayUser, time.Hour)
	c := s.airlay(good)
	var all, want []string
	for i := range 50 {
		id := fmt.Sprint(i)
		all = append(all, airlayRequest(good, "attach", "issueUpdate", id), `{}`, airlayRequest("x", "attach", "issueUpdate", id),
			`no`, airlayRequest(good, "attach", "datasetUpdate", id), airlayRequest(good, "detach", "issueUpdate", id))
		want = append(want, airlayOK, airlayNoToken, airlayInvalid, airlayBad, airlayDenied, airlayOK)
	}
	var bytes []byte
	for _, request := range all {
		bytes = append(bytes, masked(0x80|opText, request)...)
	}
	go func() { _, _ = c.Write(bytes) }() // ends when the server has read all, or with the connection
	for i, answer := range want {
		got, err := c.read()
		if err != nil || got.payload != answer {
			t.Fatalf("answer %d is %q, %v, want %s", i, got.payload, err, answer)
		}
	}
	d.publish(t, about("issueUpdate", "7", ""))
	c.silent()
}

// Events never come before the answer that lets them in, however close they are.
func TestAirlay_EventsComeAfterTheAnswer(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	good := airlayToken(t, airlayUser, time.Hour)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				d.publish(t, about("issueUpdate", "1", `["e"]`))
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 100 {
		c := s.airlay(good)
		c.ask("attach", "issueUpdate", "1", airlayOK)
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":["e"]}`)
		_ = c.Close()
	}
}
