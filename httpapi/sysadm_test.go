package httpapi_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// The errors that sysadm's clients read, but for the id, byte for byte.
const (
	sysadmBadRequest   = `{"args":{"code":"400","message":"Bad Request"},"id":"%s","name":"error","namespace":"error"}`
	sysadmUnauthorized = `{"args":{"code":"401","message":"Unauthorized"},"id":"%s","name":"error","namespace":"error"}`
	sysadmForbidden    = `{"args":{"code":"403","message":"Forbidden"},"id":"%s","name":"error","namespace":"error"}`
	sysadmNotFound     = `{"args":{"code":"404","message":"Not Found"},"id":"%s","name":"error","namespace":"error"}`
)

const sysadmUser = "operator"

// sysadmSystem is a server for sysadm's clients, who show tokens.
func sysadmSystem(t *testing.T, d *directory, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	return setup(t, append([]func(*httpapi.Config){guarded(t, d, bySecret())}, adjust...)...)
}

// sysadmClient is a client in a conversation.
type sysadmClient struct{ *client }

// sysadm opens a connection as its clients do; with a user, one that is logged
// in by the handshake.
func (s *system) sysadm(user string) *sysadmClient {
	s.t.Helper()
	if user == "" {
		return &sysadmClient{s.dial("/", "Origin: sysadm-client")}
	}
	return &sysadmClient{s.dial("/", "Origin: sysadm-client", "Authorization: Bearer "+token(s.t, user, time.Hour, nil))}
}

// ask sends a request and checks its answer, which is the next frame.
func (c *sysadmClient) ask(request, answer string) {
	c.t.Helper()
	c.text(request)
	c.expect(opText, answer)
}

// justNow takes the seconds away that may be gone of a token's hour, on a slow
// machine.
func justNow(answer string) string {
	return regexp.MustCompile(`,35[5-9][0-9]\]`).ReplaceAllString(answer, ",3600]")
}

// logIn sends a request for logging in that must succeed.
func (c *sysadmClient) logIn(request, id, token string) {
	c.t.Helper()
	c.text(request)
	got, err := c.read()
	want := `{"args":["` + token + `",3600],"id":"` + id + `","name":"response","namespace":"rpc"}`
	if err != nil || got.op != opText || justNow(got.payload) != want {
		c.t.Fatalf("got %q (%v), want %q", short(got.payload), err, short(want))
	}
}

// subscribe sends the request in the form of the Qt client.
func (c *sysadmClient) subscribe(eventType string) {
	c.t.Helper()
	c.ask(fmt.Sprintf(`{"args":%q,"id":"sysadm-client-event-auto","name":"subscribe","namespace":"events"}`, eventType),
		fmt.Sprintf(`{"args":{"subscribe":%q},"id":"sysadm-client-event-auto","name":"response","namespace":"events"}`, eventType))
}

// quiet checks that nothing has come besides.
func (c *sysadmClient) quiet() {
	c.t.Helper()
	c.ask(`{"namespace":"rpc","name":"identify","id":"quiet?"}`, `{"args":{"hostname":"notifier","type":"server"},"id":"quiet?","name":"response","namespace":"rpc"}`)
}

// ofType is an event, and sysadmMessage what clients see of it.
func ofType(eventType, payload string) notifier.Event {
	return notifier.Event{Type: eventType, CreatedAt: time.Now(), Payload: []byte(payload)}
}

func sysadmMessage(eventType, payload string) string {
	return `{"args":` + payload + `,"id":"","name":"` + eventType + `","namespace":"events"}`
}

// The document's own requests, and its event as the real server sends it.
func TestSysadm_TheDocumentsConversation(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d).sysadm(sysadmUser)
	c.ask(`{
  "namespace" : "events",
  "name" : "subscribe",
  "id" : "sampleID",
  "args" : ["dispatcher","life-preserver"]
}
`, `{"args":{"subscribe":"life-preserver"},"id":"sampleID","name":"response","namespace":"events"}`)
	const snapshot = `{"class":"snapshot","message":"test <a> & b ü","priority":"1 - Information"}`
	d.publish(t, ofType("life-preserver", snapshot), ofType("system-state", "{}"), ofType("dispatcher", `{"process_id":"1","state":"running"}`))
	c.expect(opText, `{"args":{"class":"snapshot","message":"test <a> & b ü","priority":"1 - Information"},"id":"","name":"life-preserver","namespace":"events"}`)
	c.expect(opText, sysadmMessage("dispatcher", `{"process_id":"1","state":"running"}`))
	c.ask(`{"namespace":"events","name":"unsubscribe","id":"sampleID","args":["dispatcher","life-preserver"]}`,
		`{"args":{"unsubscribe":"life-preserver"},"id":"sampleID","name":"response","namespace":"events"}`)
	d.publish(t, ofType("life-preserver", "{}"), ofType("dispatcher", "{}"))
	c.quiet()
}

// What the Qt client does: identify, log in, one subscription per type by a bare
// string, and identify and query to see whether the server is there.
func TestSysadm_TheQtClientsOrder(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d).sysadm("")
	c.ask(`{"args":"","id":"sysadm_client_identify","name":"identify","namespace":"rpc"}`,
		`{"args":{"hostname":"notifier","type":"server"},"id":"sysadm_client_identify","name":"response","namespace":"rpc"}`)
	shown := token(t, sysadmUser, time.Hour, nil)
	c.logIn(`{"args":{"token":"`+shown+`"},"id":"sysadm-client-auth-auto","name":"auth_token","namespace":"rpc"}`, "sysadm-client-auth-auto", shown)
	for _, eventType := range []string{"dispatcher", "life-preserver", "system-state"} {
		c.subscribe(eventType)
	}
	d.publish(t, ofType("system-state", `{"hostname":"h","priority":"3 - Warning"}`))
	c.expect(opText, sysadmMessage("system-state", `{"hostname":"h","priority":"3 - Warning"}`))
	c.ask(`{"args":"","id":"sysadm_client_ping","name":"query","namespace":"rpc"}`, `{"args":{},"id":"sysadm_client_ping","name":"response","namespace":"rpc"}`)
}

// Requests may be sent without waiting: they are carried out one after the other,
// each with its one answer, and there is no greeting.
func TestSysadm_PipelinedRequests(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d)
	d.publish(t, ofType("system-state", `1`))
	c := s.sysadm("")
	shown := token(t, sysadmUser, time.Hour, nil)
	requests := []string{
		`{"namespace":"events","name":"subscribe","id":"0","args":"dispatcher"}`,
		`{"namespace":"rpc","name":"auth_token","id":"1","args":{"token":"` + shown + `"}}`,
		`{"namespace":"events","name":"subscribe","id":"2","args":"system-state"}`,
		`{"namespace":"rpc","name":"auth_clear","id":"3","args":""}`,
		`{"namespace":"events","name":"subscribe","id":"4","args":"dispatcher"}`,
	}
	var all strings.Builder
	for _, r := range requests {
		all.Write(masked(0x80|opText, r))
	}
	if _, err := c.Write([]byte(all.String())); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{
		fmt.Sprintf(sysadmUnauthorized, "0"),
		`{"args":["` + shown + `",3600],"id":"1","name":"response","namespace":"rpc"}`,
		sysadmMessage("system-state", "1"),
		`{"args":{"subscribe":"system-state"},"id":"2","name":"response","namespace":"events"}`,
		fmt.Sprintf(sysadmUnauthorized, "4"),
	} {
		got, err := c.read()
		if err != nil || justNow(got.payload) != answer {
			t.Fatalf("got %q (%v), want %q", got.payload, err, answer)
		}
	}
}

// Each request, and its answer: of who is logged in, and of who is not. "": none.
func TestSysadm_Answers(t *testing.T) {
	t.Parallel()
	s := sysadmSystem(t, newDirectory(sysadmUser))
	ok := func(args, id, name, namespace string) string {
		return `{"args":` + args + `,"id":"` + id + `","name":"` + name + `","namespace":"` + namespace + `"}`
	}
	bad := fmt.Sprintf(sysadmBadRequest, "a")
	denied := fmt.Sprintf(sysadmUnauthorized, "a")
	identity := ok(`{"hostname":"notifier","type":"server"}`, "a", "response", "rpc")
	type told struct{ known, stranger string }
	same := func(answer string) told { return told{answer, answer} }
	needsLogin := func(answer string) told { return told{answer, denied} }
	for request, want := range map[string]told{
		// the form comes before all else
		``: same(fmt.Sprintf(sysadmBadRequest, "")), `x`: same(fmt.Sprintf(sysadmBadRequest, "")), `[]`: same(fmt.Sprintf(sysadmBadRequest, "")),
		`"a"`: same(fmt.Sprintf(sysadmBadRequest, "")), `{"id":"a"`: same(fmt.Sprintf(sysadmBadRequest, "")), `{}`: same(fmt.Sprintf(sysadmBadRequest, "")),
		"bridge\n{}": same(fmt.Sprintf(sysadmBadRequest, "")), "{\"id\":\"\xff\"}": same(fmt.Sprintf(sysadmBadRequest, "")),
		`{"id":"a","deep":` + strings.Repeat("[", 12_000) + strings.Repeat("]", 12_000) + `}`: same(fmt.Sprintf(sysadmBadRequest, "")),
		`{"id":"a","name":"subscribe"}`: same(bad), `{"id":"a","namespace":"events","args":"dispatcher"}`: same(bad),
		`{"id":"a","namespace":"","name":"subscribe"}`: same(bad), `{"id":"a","namespace":"events","name":""}`: same(bad),
		`{"id":"a","namespace":7,"name":"subscribe"}`: same(bad), `{"id":"a","namespace":"events","name":["subscribe"]}`: same(bad),
		// then who asks, then what for
		`{"id":"a","namespace":"events","name":"subscribe","args":"dispatcher"}`:                                       needsLogin(ok(`{"subscribe":"dispatcher"}`, "a", "response", "events")),
		`{"id":"a","namespace":"EVents","name":"subscribe","args":"dispatcher"}`:                                       needsLogin(ok(`{"subscribe":"dispatcher"}`, "a", "response", "EVents")),
		`{"id":"a","namespace":"events","name":"subscribe","args":["x","life-preserver","system-state","y"],"more":1}`: needsLogin(ok(`{"subscribe":"system-state"}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"subscribe","args":["dispatcher",{},7,null,"dispatcher"]}`:              needsLogin(ok(`{"subscribe":"dispatcher"}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"subscribe","args":["x",7]}`:                                            needsLogin(ok(`{}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"subscribe","args":"Dispatcher"}`:                                       needsLogin(ok(`{}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"subscribe","args":["life_preserver","","*"]}`:                          needsLogin(ok(`{}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"unsubscribe","args":"system-state"}`:                                   needsLogin(ok(`{"unsubscribe":"system-state"}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"unsubscribe","args":"none"}`:                                           needsLogin(ok(`{}`, "a", "response", "events")),
		`{"id":"a","namespace":"events","name":"subscribe","args":[]}`:                                                 needsLogin(bad),
		`{"id":"a","namespace":"events","name":"subscribe","args":""}`:                                                 needsLogin(bad),
		`{"id":"a","namespace":"events","name":"subscribe","args":null}`:                                               needsLogin(bad),
		`{"id":"a","namespace":"events","name":"subscribe","args":{"0":"dispatcher"}}`:                                 needsLogin(bad),
		`{"id":"a","namespace":"events","name":"subscribe"}`:                                                           needsLogin(bad),
		`{"id":"a","namespace":"events","name":"Subscribe","args":"dispatcher"}`:                                       needsLogin(bad),
		`{"id":"a","namespace":"events","name":"list","args":"dispatcher"}`:                                            needsLogin(bad),
		`{"id":"a","namespace":"rpc","name":"logs","args":{"action":"read"}}`:                                          needsLogin(fmt.Sprintf(sysadmNotFound, "a")),
		`{"id":"a","namespace":"sysadm","name":"lifepreserver","args":{"action":"listcron"}}`:                          needsLogin(fmt.Sprintf(sysadmNotFound, "a")),
		`{"id":"a","namespace":"rpc","name":"query","args":"x"}`:                                                       needsLogin(ok(`{}`, "a", "response", "rpc")),
		`{"id":"a","namespace":"rpc","name":"identify","args":{"x":1}}`:                                                same(identity),
		" \r\n{ \"id\" : \"a\" , \"namespace\":\"RPC\",\"name\":\"identify\"}\n\n":                                     same(strings.Replace(identity, "rpc", "RPC", 1)),
		`{"id":"b","id":"a","namespace":"x","namespace":"rpc","name":"identify"}`:                                      same(identity),
		// only a string is an id, and an answer without one goes by the request's name
		`{"namespace":"rpc","name":"identify"}`:           same(ok(`{"hostname":"notifier","type":"server"}`, "", "identify", "rpc")),
		`{"namespace":"rpc","name":"identify","id":""}`:   same(ok(`{"hostname":"notifier","type":"server"}`, "", "identify", "rpc")),
		`{"namespace":"rpc","name":"identify","id":7}`:    same(ok(`{"hostname":"notifier","type":"server"}`, "", "identify", "rpc")),
		`{"namespace":"rpc","name":"identify","id":null}`: same(ok(`{"hostname":"notifier","type":"server"}`, "", "identify", "rpc")),
		`{"namespace":"events","name":"subscribe","id":["a"],"args":"dispatcher"}`: {
			ok(`{"subscribe":"dispatcher"}`, "", "subscribe", "events"), fmt.Sprintf(sysadmUnauthorized, "")},
		`{"namespace":"events","name":"list","id":7,"args":"dispatcher"}`:  {fmt.Sprintf(sysadmBadRequest, ""), fmt.Sprintf(sysadmUnauthorized, "")},
		`{"namespace":"rpc","name":"identify","id":"<\"\\\u00e4\u0001&>"}`: same(ok(`{"hostname":"notifier","type":"server"}`, `<\"\\ä\u0001&>`, "response", "rpc")),
	} {
		for who, answer := range map[string]string{sysadmUser: want.known, "": want.stranger} {
			c := s.in(t).sysadm(who)
			c.text(request)
			if got, err := c.read(); err != nil || got != (frame{opText, answer}) {
				t.Errorf("%s\nfrom %q got  %s\nwant %s (%v)", short(request), who, got.payload, answer, err)
			}
			c.quiet()
		}
	}
}

// Logging in, by what there is, and out.
func TestSysadm_LoggingIn(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser, "other")
	s := sysadmSystem(t, d)
	good := token(t, sysadmUser, time.Hour, nil)
	login := func(id, shown string) string {
		return `{"namespace":"rpc","name":"auth_token","id":"` + id + `","args":{"token":"` + shown + `"}}`
	}
	query := func(c *sysadmClient, known bool) {
		t.Helper()
		answer := fmt.Sprintf(sysadmUnauthorized, "q")
		if known {
			answer = `{"args":{},"id":"q","name":"response","namespace":"rpc"}`
		}
		c.ask(`{"namespace":"rpc","name":"query","id":"q"}`, answer)
	}
	for name, request := range map[string]string{
		"no token":       `{"namespace":"rpc","name":"auth_token","id":"a","args":{}}`,
		"an empty token": login("a", ""),
		"no string":      `{"namespace":"rpc","name":"auth_token","id":"a","args":{"token":["` + good + `"]}}`,
		"no object":      `{"namespace":"rpc","name":"auth_token","id":"a","args":"` + good + `"}`,
		"no args":        `{"namespace":"rpc","name":"auth_token","id":"a"}`,
		"a wrong one":    login("a", good+"x"),
		"expired":        login("a", token(t, sysadmUser, -time.Minute, nil)),
		"of nobody":      login("a", token(t, "nobody", time.Hour, nil)),
		"a certificate":  `{"namespace":"rpc","name":"auth_ssl","id":"a","args":""}`,
		"encrypted":      `{"namespace":"rpc","name":"auth_ssl","id":"a","args":{"encrypted_string":"x"}}`,
		"no password":    `{"namespace":"rpc","name":"auth","id":"a","args":{"username":"operator"}}`,
		"a list":         `{"namespace":"rpc","name":"auth","id":"a","args":["operator","secret"]}`,
	} {
		for _, known := range []bool{true, false} { // a failure also ends what was before
			c := s.sysadm("")
			if known {
				c.logIn(login("1", good), "1", good)
				query(c, true)
				c.subscribe("dispatcher")
			}
			t.Log(name)
			c.ask(request, fmt.Sprintf(sysadmUnauthorized, "a"))
			query(c, false)
			d.publish(t, ofType("dispatcher", "{}"))
			c.quiet()
		}
	}
	// without args, the request itself is taken for them
	c := s.sysadm("")
	c.logIn(`{"namespace":"rpc","name":"auth_token","id":"1","token":"`+good+`"}`, "1", good)
	c.subscribe("dispatcher")
	c.subscribe("system-state")
	c.logIn(login("2", good), "2", good)
	d.publish(t, ofType("dispatcher", "1"))
	c.expect(opText, sysadmMessage("dispatcher", "1")) // the same user: it goes on
	c.text(`{"namespace":"rpc","name":"auth_clear","id":"3"}`)
	query(c, false) // the answer to auth_clear is none
	d.publish(t, ofType("dispatcher", "2"))
	c.quiet()
	c.logIn(login("4", good), "4", good)
	d.publish(t, ofType("dispatcher", "3"))
	c.quiet() // what was dropped does not come back by itself
	c.subscribe("dispatcher")
	other := token(t, "other", time.Hour, nil)
	c.logIn(login("5", other), "5", other)
	d.publish(t, ofType("dispatcher", "4"))
	c.quiet() // nor does another user inherit it
	c.subscribe("dispatcher")
	admin := token(t, "other", time.Hour, withRoles("admin"))
	c.logIn(login("6", admin), "6", admin)
	c.subscribe("dispatcher")
	d.publish(t, toUser(sysadmUser, ofType("dispatcher", "5")))
	c.expect(opText, sysadmMessage("dispatcher", "5"))
	c.logIn(login("7", other), "7", other)
	d.publish(t, toUser(sysadmUser, ofType("dispatcher", "6")))
	c.quiet() // nor do an admin's rights outlast the admin's token
}
