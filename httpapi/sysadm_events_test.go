package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// Args are the payload as it was written, and an object if there is none; a type
// is JSON, whatever it is.
func TestSysadm_ArgsOfEveryKind(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d, func(c *httpapi.Config) { c.SysadmTypes = []string{"*"} }).sysadm(sysadmUser)
	c.subscribe("dispatcher")
	for payload, args := range map[string]string{
		"": `{}`, "null": `{}`, " null\n": `{}`, "{}": `{}`, "[]": `[]`, `"x"`: `"x"`, "-1.50e+1": `-1.50e+1`, "false": `false`,
		"{\n \"b\" : 1,\r\n\t\"a\":\"<\\u0000&>\"\n}": "{\n \"b\" : 1,\r\n\t\"a\":\"<\\u0000&>\"\n}",
		`"` + strings.Repeat("ü", 50_000) + `"`:       `"` + strings.Repeat("ü", 50_000) + `"`,
	} {
		d.publish(t, ofType("dispatcher", payload))
		c.expect(opText, sysadmMessage("dispatcher", args))
	}
	c.ask(`{"namespace":"events","name":"subscribe","id":"a","args":"\"<\\\u00fc&>\n"}`, `{"args":{"subscribe":"\"<\\ü&>\n"},"id":"a","name":"response","namespace":"events"}`)
	d.publish(t, ofType("\"<\\ü&>\n", "1"))
	c.expect(opText, sysadmMessage(`\"<\\ü&>\n`, "1"))
}

// Subscribed twice is subscribed once; one unsubscription ends it; and what was
// never subscribed to can be unsubscribed from.
func TestSysadm_SubscribeAndUnsubscribe(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d).sysadm(sysadmUser)
	unsubscribe := func(args, last string) {
		t.Helper()
		c.ask(`{"args":`+args+`,"id":"u","name":"unsubscribe","namespace":"events"}`, `{"args":{"unsubscribe":"`+last+`"},"id":"u","name":"response","namespace":"events"}`)
	}
	unsubscribe(`"system-state"`, "system-state")
	for range 3 {
		c.subscribe("dispatcher")
	}
	c.ask(`{"args":["dispatcher","dispatcher","life-preserver"],"id":"s","name":"subscribe","namespace":"events"}`,
		`{"args":{"subscribe":"life-preserver"},"id":"s","name":"response","namespace":"events"}`)
	d.publish(t, ofType("dispatcher", "1"), ofType("life-preserver", "1"), ofType("system-state", "1"))
	c.expect(opText, sysadmMessage("dispatcher", "1"))
	c.expect(opText, sysadmMessage("life-preserver", "1"))
	unsubscribe(`"dispatcher"`, "dispatcher")
	d.publish(t, ofType("dispatcher", "2"), ofType("life-preserver", "2"))
	c.expect(opText, sysadmMessage("life-preserver", "2"))
	unsubscribe(`["life-preserver","dispatcher","nothing"]`, "dispatcher")
	d.publish(t, ofType("dispatcher", "3"), ofType("life-preserver", "3"))
	c.quiet()
}

// Types are those that there are by configuration, exactly.
func TestSysadm_TypesByConfiguration(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	for name, test := range map[string]struct {
		types, latest []string
		want          string // the last of all that are asked for
	}{
		"none":   {nil, nil, `{"subscribe":"dispatcher"}`},
		"one":    {[]string{"disk"}, nil, `{"subscribe":"disk"}`},
		"latest": {nil, []string{"pool"}, `{"subscribe":"pool"}`},
		"any":    {[]string{"*"}, nil, `{"subscribe":"any"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDirectory(sysadmUser)
			s := sysadmSystem(t, d, func(c *httpapi.Config) { c.SysadmTypes, c.SysadmLatest = test.types, test.latest })
			c := s.sysadm(sysadmUser)
			c.ask(`{"args":["dispatcher","disk","pool","any","`+long+`","a\u0000",""],"id":"s","name":"subscribe","namespace":"events"}`,
				`{"args":`+test.want+`,"id":"s","name":"response","namespace":"events"}`)
		})
	}
	if _, err := httpapi.New(httpapi.Config{SysadmLatest: []string{"*"}}); err == nil || !strings.Contains(err.Error(), "sysadm latest") {
		t.Errorf("the newest of any type: %v", err)
	}
}

// The newest event of two types comes before the answer, each time, and that of
// others does not.
func TestSysadm_NewestEvent(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d)
	c := s.sysadm(sysadmUser)
	c.subscribe("life-preserver") // there is none
	for _, payload := range []string{"1", "2"} {
		d.publish(t, ofType("dispatcher", payload), ofType("life-preserver", payload), ofType("system-state", payload))
		c.expect(opText, sysadmMessage("life-preserver", payload))
	}
	for range 2 {
		for _, eventType := range []string{"life-preserver", "system-state"} {
			c.text(`{"args":"` + eventType + `","id":"s","name":"subscribe","namespace":"events"}`)
			c.expect(opText, sysadmMessage(eventType, "2"))
			c.expect(opText, `{"args":{"subscribe":"`+eventType+`"},"id":"s","name":"response","namespace":"events"}`)
		}
	}
	c.subscribe("dispatcher")
	c.text(`{"args":["system-state","dispatcher","life-preserver","system-state"],"id":"s","name":"subscribe","namespace":"events"}`)
	c.expect(opText, sysadmMessage("system-state", "2"))
	c.expect(opText, sysadmMessage("life-preserver", "2"))
	c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"s","name":"response","namespace":"events"}`)
	d.publish(t, ofType("system-state", "3"))
	c.expect(opText, sysadmMessage("system-state", "3"))
	c.quiet()
}

// The newest event must not overtake those that already wait for the client.
func TestSysadm_NewestEventAfterThoseThatWait(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d, smallBuffers).sysadm(sysadmUser)
	c.subscribe("system-state")
	events, messages := bulky("system-state")
	d.publish(t, events...)
	c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
	for _, message := range append(messages, messages[len(messages)-1]) {
		c.expect(opText, message)
	}
	c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"s","name":"response","namespace":"events"}`)
	c.quiet()
}

// It is the newest that the user may read, by today's policy; an admin sees all.
func TestSysadm_NewestEventOneMayRead(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser, "other")
	d.allowed[sysadmUser+" open"] = true
	s := sysadmSystem(t, d)
	in := func(dataset, payload string) notifier.Event {
		e := ofType("system-state", payload)
		e.DatasetID = &dataset
		return e
	}
	d.publish(t, ofType("system-state", "1"), in("open", "2"), in("closed", "3"), toUser("other", ofType("system-state", "4")), in("closed", "5"), toUser("other", in("open", "6")))
	newest := func(user string, want string, more claims) {
		t.Helper()
		c := &sysadmClient{s.dial("/sysadm?token=" + token(t, user, time.Hour, more))}
		c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
		c.expect(opText, sysadmMessage("system-state", want))
		c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"s","name":"response","namespace":"events"}`)
		c.quiet()
	}
	newest(sysadmUser, "2", nil)
	newest("other", "4", nil)
	newest("other", "6", withRoles("admin"))
	d.permit(sysadmUser, "closed", true)
	newest(sysadmUser, "5", nil)
	d.permit(sysadmUser, "closed", false)
	d.permit(sysadmUser, "open", false)
	newest(sysadmUser, "1", nil)
}

// It can be had of other types, and not at all.
func TestSysadm_NewestEventByConfiguration(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	d.publish(t, ofType("system-state", "1"), ofType("disk", "1"))
	c := sysadmSystem(t, d, func(c *httpapi.Config) { c.SysadmLatest = []string{"disk"} }).sysadm(sysadmUser)
	c.subscribe("system-state")
	c.text(`{"args":"disk","id":"s","name":"subscribe","namespace":"events"}`)
	c.expect(opText, sysadmMessage("disk", "1"))
	c = sysadmSystem(t, d, func(c *httpapi.Config) { c.SysadmLatest = []string{} }).sysadm(sysadmUser)
	c.subscribe("system-state")
	c.quiet()
}

// If it can't be read, the client is told to come again: the last it knew may be
// wrong.
func TestSysadm_NewestEventThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	c := sysadmSystem(t, d).sysadm(sysadmUser)
	d.setFault(errors.New("the store is broken"))
	c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
	if code, _ := c.expectClose(); code != 1013 {
		t.Errorf("closed with %d", code)
	}
}

// Events are checked one by one, also when access changes; clients are told
// nothing of it.
func TestSysadm_EachEventIsChecked(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser, otherUser)
	d.allowed[sysadmUser+" open"] = true
	c := sysadmSystem(t, d).sysadm(sysadmUser)
	c.subscribe("dispatcher")
	in := func(dataset, payload string) notifier.Event {
		e := ofType("dispatcher", payload)
		e.DatasetID = &dataset
		return e
	}
	all := []notifier.Event{in("closed", "1"), toUser(otherUser, in("open", "2")), in("open", "3"), toUser(sysadmUser, ofType("dispatcher", "4")), ofType("dispatcher", "5")}
	d.publish(t, all...)
	for _, payload := range []string{"3", "4", "5"} {
		c.expect(opText, sysadmMessage("dispatcher", payload))
	}
	d.permit(sysadmUser, "open", false)
	d.publish(t, all...)
	for _, payload := range []string{"4", "5"} {
		c.expect(opText, sysadmMessage("dispatcher", payload))
	}
	c.quiet()
}

// Without tokens, logging in is answered well and not needed.
func TestSysadm_Anonymous(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.sysadm("")
	c.subscribe("dispatcher")
	c.ask(`{"namespace":"rpc","name":"query","id":"q"}`, `{"args":{},"id":"q","name":"response","namespace":"rpc"}`)
	s.push(toUser("somebody", ofType("dispatcher", "1")))
	c.expect(opText, sysadmMessage("dispatcher", "1"))
	c.text(`{"namespace":"rpc","name":"auth_clear","id":"c"}`)
	c.quiet()
	s.push(ofType("dispatcher", "2"))
	c.quiet()
	c.subscribe("dispatcher")                                                                                            // nobody is somebody again
	c.ask(`{"namespace":"rpc","name":"auth_token","id":"t","args":{"token":"x"}}`, fmt.Sprintf(sysadmUnauthorized, "t")) // one that is sent is checked
}

// A page's request at the place of the protocol is for the console, and finds nothing
// where that is off; a token that is no good is refused at the handshake.
func TestSysadm_Places(t *testing.T) {
	t.Parallel()
	s := sysadmSystem(t, newDirectory(sysadmUser))
	off := setup(t, func(c *httpapi.Config) { c.NoConsole = true })
	for method, want := range map[string]int{"GET": http.StatusOK, "HEAD": http.StatusOK, "POST": http.StatusMethodNotAllowed} {
		if status, _, _ := s.request(method, "/", ""); status != want {
			t.Errorf("%s /: %d, want %d", method, status, want)
		}
		if status, _, text := off.request(method, "/", ""); status != http.StatusNotFound || text != "" {
			t.Errorf("%s / without a console: %d %q", method, status, text)
		}
	}
	if status, _, _ := s.request("GET", "/sysadm", ""); status != http.StatusUpgradeRequired {
		t.Errorf("GET /sysadm: %d", status)
	}
	for _, path := range []string{"/", "/?token=x", "/sysadm/", "/sysadm?token=x"} {
		answer, c := s.handshake(path)
		if bad := strings.Contains(path, "token"); bad != (answer.StatusCode == http.StatusUnauthorized) {
			t.Errorf("%s: %d", path, answer.StatusCode)
		} else if !bad {
			(&sysadmClient{c}).quiet()
		}
	}
}

// A binary frame is taken for text.
func TestSysadm_BinaryFrames(t *testing.T) {
	t.Parallel()
	c := sysadmSystem(t, newDirectory(sysadmUser)).sysadm(sysadmUser)
	c.send(0x80|opBinary, `{"namespace":"rpc","name":"query","id":"q"}`)
	c.expect(opText, `{"args":{},"id":"q","name":"response","namespace":"rpc"}`)
}
