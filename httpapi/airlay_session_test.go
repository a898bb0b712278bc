package httpapi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// Data is always an array; an array goes out as it was written.
func TestAirlay_DataOfEveryKind(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.ask("attach", "issueUpdate", "1", airlayOK)
	for payload, data := range map[string]string{
		"": `[]`, "null": `[]`, " null\n": `[]`, "[]": `[]`, "[null]": `[null]`, ` [1, {"b" : 2,"a":"<\u0000>"}]`: ` [1, {"b" : 2,"a":"<\u0000>"}]`,
		`{"b" : 1,  "a":"&"}`: `[{"b" : 1,  "a":"&"}]`, `"[]"`: `["[]"]`, "0": `[0]`, "-1.50e+1": `[-1.50e+1]`, "false": `[false]`,
		`"` + strings.Repeat("ü", 50_000) + `"`: `["` + strings.Repeat("ü", 50_000) + `"]`,
	} {
		d.publish(t, about("issueUpdate", "1", payload))
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":`+data+`}`)
	}
}

// Type and id go out as JSON, whatever they are, and are matched exactly.
func TestAirlay_MatchesExactly(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	for _, id := range []string{"a", "A", " a", "*", "a.b", `"\`, "<ü>", "\u2028", "1,2"} {
		request := func(action string) string {
			return fmt.Sprintf(`{"auth":%q,"action":%q,"event":{"type":"issueUpdate","id":"%s"}}`, c.token, action, jsonText(id))
		}
		c.text(request("attach"))
		c.expect(opText, airlayOK)
		d.publish(t, about("issueUpdate", id+"x", ""), about("issueupdate", id, ""), about("notification", id, ""), about("issueUpdate", "", ""))
		d.publish(t, about("issueUpdate", id, ""))
		c.expect(opText, `{"type":"issueUpdate","id":"`+jsonText(id)+`","data":[]}`)
		c.text(request("detach"))
		c.expect(opText, airlayOK)
	}
	c.silent()
}

// jsonText is what stands between the quotes.
func jsonText(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

// Attached twice is attached once; detached is detached, however often it was
// attached; and what was never attached can be detached.
func TestAirlay_AttachAndDetach(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	const event = `{"type":"issueUpdate","id":"1","data":[]}`
	c.ask("detach", "issueUpdate", "1", airlayOK)
	for range 3 {
		c.ask("attach", "issueUpdate", "1", airlayOK)
	}
	d.publish(t, about("issueUpdate", "1", ""))
	c.expect(opText, event)
	c.ask("detach", "issueUpdate", "2", airlayOK)
	c.ask("detach", "notification", "1", airlayOK)
	c.ask("detach", "datasetUpdate", "1", airlayOK) // no access is needed to go
	d.publish(t, about("issueUpdate", "1", ""))
	c.expect(opText, event)
	c.ask("detach", "issueUpdate", "1", airlayOK)
	d.publish(t, about("issueUpdate", "1", ""))
	c.ask("attach", "issueUpdate", "1", airlayOK)
	d.publish(t, about("issueUpdate", "1", ""))
	c.expect(opText, event)
	c.silent()
}

// toUser makes an event of a user.
func toUser(user string, e notifier.Event) notifier.Event {
	e.Recipient = &user
	return e
}

// A notification without an id is any that is meant for the token's user, or for
// nobody in particular; with one, it is that one.
func TestAirlay_Notifications(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser, otherUser)
	s := airlaySystem(t, d)
	all := []notifier.Event{
		toUser(airlayUser, about("notification", "", `"mine"`)),
		toUser(airlayUser, about("notification", "n1", `"mine, one"`)),
		toUser(otherUser, about("notification", "n1", `"another's"`)),
		about("notification", "", `"all"`),
		about("notification", "n1", `"all, one"`),
		about("notification", "n2", `"all, two"`),
		toUser(airlayUser, about("issueUpdate", "", `"no notification"`)),
	}
	message := func(id, data string) string {
		return fmt.Sprintf(`{"type":"notification","id":%q,"data":[%q]}`, id, data)
	}
	any := []string{message("", "mine"), message("n1", "mine, one"), message("", "all"), message("n1", "all, one"), message("n2", "all, two")}
	for _, c := range []struct {
		event string
		want  []string
	}{
		{`{"type":"notification"}`, any},
		{`{"type":"notification","id":null}`, any},
		{`{"type":"notification","id":""}`, any},
		{`{"type":"notification","id":"n1"}`, []string{message("n1", "mine, one"), message("n1", "all, one")}},
		{`{"type":"notification","id":"n3"}`, nil},
	} {
		client := s.airlay(airlayToken(t, airlayUser, time.Hour))
		for range 2 { // all three forms are the same thing
			client.text(fmt.Sprintf(`{"auth":%q,"action":"attach","event":%s}`, client.token, c.event))
			client.expect(opText, airlayOK)
		}
		for _, e := range all {
			d.publish(t, e)
		}
		for _, want := range c.want {
			client.expect(opText, want)
		}
		client.text(fmt.Sprintf(`{"auth":%q,"action":"detach","event":%s}`, client.token, c.event))
		client.expect(opText, airlayOK)
		d.publish(t, all...)
		client.silent()
	}
}

// An id narrows: both attached, an event still comes once. Detaching the one
// leaves the other.
func TestAirlay_NotificationsWithAndWithoutID(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.ask("attach", "notification", "", airlayOK)
	c.ask("attach", "notification", "n1", airlayOK)
	d.publish(t, about("notification", "n1", ""))
	c.expect(opText, `{"type":"notification","id":"n1","data":[]}`)
	c.ask("detach", "notification", "", airlayOK)
	d.publish(t, about("notification", "n2", ""), about("notification", "n1", ""))
	c.expect(opText, `{"type":"notification","id":"n1","data":[]}`)
	c.silent()
}

// An event with a dataset is checked by it, whatever the object's was; and an
// event that is addressed to somebody else is nobody's.
func TestAirlay_EachEventIsChecked(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	d.allowed[airlayUser+" open"] = true
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.ask("attach", "issueUpdate", "1", airlayOK)
	in := func(dataset, payload string) notifier.Event {
		e := about("issueUpdate", "1", payload)
		e.DatasetID = &dataset
		return e
	}
	d.publish(t, in("closed", `["closed"]`), toUser(otherUser, in("open", `["another's"]`)), in("open", `["open"]`), toUser(airlayUser, in("closed", `["closed"]`)))
	c.expect(opText, `{"type":"issueUpdate","id":"1","data":["open"]}`)
	c.silent()
}

// Each attachment rests on the token that came with it.
func TestAirlay_SeveralTokensOnOneConnection(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser, otherUser)
	d.allowed[airlayUser+" one"], d.allowed[otherUser+" two"] = true, true
	s := airlaySystem(t, d)
	mine, theirs := s.airlay(airlayToken(t, airlayUser, time.Hour)), airlayToken(t, otherUser, time.Hour)
	mine.ask("attach", "datasetUpdate", "one", airlayOK)
	mine.ask("attach", "datasetUpdate", "two", airlayDenied)
	mine.ask("attach", "notification", "", airlayOK)
	mine.token = theirs
	mine.ask("attach", "datasetUpdate", "one", airlayDenied)
	mine.ask("attach", "datasetUpdate", "two", airlayOK)
	one, two := about("datasetUpdate", "one", ""), about("datasetUpdate", "two", "")
	one.DatasetID, two.DatasetID = &one.Key, &two.Key
	d.publish(t, one, two)
	mine.expect(opText, `{"type":"datasetUpdate","id":"one","data":[]}`)
	mine.expect(opText, `{"type":"datasetUpdate","id":"two","data":[]}`)
	d.publish(t, toUser(otherUser, about("notification", "theirs", "")), toUser(airlayUser, about("notification", "mine", "")))
	mine.expect(opText, `{"type":"notification","id":"mine","data":[]}`)
	mine.ask("attach", "notification", "", airlayOK) // from now on, it rests on the other token
	d.publish(t, toUser(otherUser, about("notification", "theirs", "")), toUser(airlayUser, about("notification", "mine", "")))
	mine.expect(opText, `{"type":"notification","id":"theirs","data":[]}`)
	mine.silent()
}

// A revocation is told once, ends what rests on it and nothing else, and can be
// followed by a new attachment.
func TestAirlay_Revocation(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	d.allowed[airlayUser+" d"], d.allowed[airlayUser+" e"] = true, true
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	for _, id := range []string{"d", "e"} {
		c.ask("attach", "datasetUpdate", id, airlayOK)
	}
	event := func(id string) notifier.Event {
		e := about("datasetUpdate", id, "")
		e.DatasetID = &e.Key
		return e
	}
	d.permit(airlayUser, "d", false)
	c.expect(opText, airlayDenied)
	d.publish(t, event("d"), event("e"))
	c.expect(opText, `{"type":"datasetUpdate","id":"e","data":[]}`)
	c.ask("attach", "datasetUpdate", "d", airlayDenied)
	c.ask("detach", "datasetUpdate", "d", airlayOK)
	d.permit(airlayUser, "d", true)
	d.publish(t, event("d")) // what was taken does not come back by itself
	c.ask("attach", "datasetUpdate", "d", airlayOK)
	d.publish(t, event("d"))
	c.expect(opText, `{"type":"datasetUpdate","id":"d","data":[]}`)
	c.silent()
}

// Thousands of subscriptions can end at once, on the goroutine that publishes to
// everybody: the connection is told of all together, not of each, which took it
// 3 s of 10,000 when it looked for each among all. Nor is the client told of each,
// or it would be ended for not reading that fast.
func TestAirlay_RevocationOfMuchIsTold(t *testing.T) {
	t.Parallel()
	const many = 300
	d := newDirectory(airlayUser)
	d.allowed[airlayUser+" kept"] = true
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.ask("attach", "datasetUpdate", "kept", airlayOK)
	for i := range many {
		id := fmt.Sprint(i)
		d.mu.Lock()
		d.allowed[airlayUser+" "+id] = true
		d.mu.Unlock()
		c.ask("attach", "datasetUpdate", id, airlayOK)
	}
	d.mu.Lock()
	clear(d.allowed)
	d.allowed[airlayUser+" kept"] = true
	d.mu.Unlock()
	user := airlayUser
	d.control(&notifier.Event{Control: notifier.ControlAccessRevoked, Recipient: &user})
	c.expect(opText, airlayDenied)
	kept := about("datasetUpdate", "kept", "")
	kept.DatasetID = &kept.Key
	lost := about("datasetUpdate", "0", "")
	lost.DatasetID = &lost.Key
	d.publish(t, lost, kept)
	c.expect(opText, `{"type":"datasetUpdate","id":"kept","data":[]}`)
	c.silent()
}

// What was attached and detached is not told of.
func TestAirlay_RevocationOfWhatIsDetached(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	d.allowed[airlayUser+" d"] = true
	s := airlaySystem(t, d)
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.ask("attach", "datasetUpdate", "d", airlayOK)
	c.ask("attach", "datasetUpdate", "d", airlayOK)
	c.ask("detach", "datasetUpdate", "d", airlayOK)
	d.permit(airlayUser, "d", false)
	c.silent()
}

// Without an answer of the policy nobody can be told anything true: the
// connection ends, and the client comes again.
func TestAirlay_PolicyOutOfOrder(t *testing.T) {
	t.Parallel()
	d := newDirectory(airlayUser)
	s := airlaySystem(t, d)
	d.fault = errors.New("the policy is broken")
	c := s.airlay(airlayToken(t, airlayUser, time.Hour))
	c.say("attach", "issueUpdate", "1")
	if code, _ := c.expectClose(); code != 1013 {
		t.Errorf("closed with %d", code)
	}
}

// dialAirlay opens a connection over a pipe.
func (p *pipes) dialAirlay(s *system, token string) *airlayClient {
	s.t.Helper()
	return &airlayClient{p.dialWith(s, "/ws"), token}
}

// onAirlaysTime is a server for airlay's tokens on fake time.
func onAirlaysTime(t *testing.T, users []string, test func(*testing.T, *system, *pipes, *directory)) {
	t.Helper()
	airlayKey() // not in the bubble: it would take its time from there
	config := asAirlay(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p := newDirectory(users...), newPipes()
		slow := func(c *httpapi.Config) { c.PingInterval = 1000 * time.Hour }
		test(t, setupOn(t, p, guarded(t, d, config), slow), p, d)
	})
}

// A token's end is told once, ends what rests on it, and leaves the connection.
func TestAirlay_Expiry(t *testing.T) {
	onAirlaysTime(t, []string{airlayUser, otherUser}, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := p.dialAirlay(s, airlayToken(t, airlayUser, time.Hour))
		c.ask("attach", "issueUpdate", "1", airlayOK)
		c.ask("attach", "issueUpdate", "2", airlayOK)
		longer := &airlayClient{c.client, airlayToken(t, otherUser, 3*time.Hour)}
		longer.ask("attach", "issueUpdate", "3", airlayOK)
		<-time.After(time.Hour - time.Second) // fake
		d.publish(t, about("issueUpdate", "1", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
		began := time.Now()
		c.expect(opText, airlayInvalid)
		if after := time.Since(began); after != time.Second {
			t.Errorf("told %v after the last event, not 1 s", after)
		}
		d.publish(t, about("issueUpdate", "1", ""), about("issueUpdate", "2", ""), about("issueUpdate", "3", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"3","data":[]}`)
		c.ask("attach", "issueUpdate", "1", airlayInvalid)
		c.token = airlayToken(t, airlayUser, time.Hour)
		c.ask("attach", "issueUpdate", "1", airlayOK)
		d.publish(t, about("issueUpdate", "1", ""), about("issueUpdate", "2", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
		<-time.After(time.Hour)
		c.expect(opText, airlayInvalid)
		<-time.After(time.Hour)
		c.expect(opText, airlayInvalid) // of the other user
		c.silent()
		<-time.After(100 * time.Hour)
		c.silent()
		_ = c.Close()
	})
}

// Any request with a newer token of the same user renews what rests on the
// older one, whatever else becomes of it; another user's does not, nor an older
// one, nor a bad one.
func TestAirlay_Renewal(t *testing.T) {
	onAirlaysTime(t, []string{airlayUser, otherUser}, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := p.dialAirlay(s, airlayToken(t, airlayUser, time.Hour))
		c.ask("attach", "issueUpdate", "1", airlayOK)
		for _, renewal := range []struct{ action, eventType, id, answer string }{
			{"attach", "issueUpdate", "1", airlayOK}, {"attach", "issueUpdate", "2", airlayOK}, {"detach", "issueUpdate", "9", airlayOK},
			{"attach", "datasetUpdate", "closed", airlayDenied}, {"no", "issueUpdate", "1", airlayBad}, {"attach", "issueUpdate", "", airlayBad},
		} {
			<-time.After(50 * time.Minute)
			c.token = airlayToken(t, airlayUser, time.Hour)
			c.ask(renewal.action, renewal.eventType, renewal.id, renewal.answer)
		}
		<-time.After(50 * time.Minute)
		(&airlayClient{c.client, airlayToken(t, otherUser, 2*time.Hour)}).ask("attach", "issueUpdate", "3", airlayOK)
		(&airlayClient{c.client, airlayToken(t, airlayUser, time.Minute)}).ask("attach", "issueUpdate", "4", airlayOK)
		(&airlayClient{c.client, airlayToken(t, airlayUser, 2*time.Hour) + "x"}).ask("attach", "issueUpdate", "5", airlayInvalid)
		began := time.Now()
		c.expect(opText, airlayInvalid)
		if after := time.Since(began); after != 10*time.Minute {
			t.Errorf("it ended after %v", after)
		}
		d.publish(t, about("issueUpdate", "1", ""), about("issueUpdate", "2", ""), about("issueUpdate", "4", ""), about("issueUpdate", "3", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"3","data":[]}`)
		_ = c.Close()
	})
}

// What an admin has attached shows everything: a newer token without the role
// does not renew it, nor does one that ends later. With the role it does, and
// that renews the rest as well.
func TestAirlay_AdminThatLosesTheRole(t *testing.T) {
	onAirlaysTime(t, []string{airlayUser}, func(t *testing.T, s *system, p *pipes, d *directory) {
		admin := func() string {
			now := time.Now()
			return sign(t, "RS256", airlayKey(), claims{
				"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "roles": []string{"admin"}, "data": claims{"id": airlayUser},
			})
		}
		c := p.dialAirlay(s, admin())
		c.ask("attach", "issueUpdate", "1", airlayOK)
		c.token = airlayToken(t, airlayUser, time.Hour)
		c.ask("attach", "issueUpdate", "2", airlayOK)
		secret := about("issueUpdate", "1", "")
		dataset := "closed"
		secret.DatasetID = &dataset
		<-time.After(50 * time.Minute)
		c.token = admin()
		c.ask("detach", "issueUpdate", "9", airlayOK)
		<-time.After(50 * time.Minute)
		d.publish(t, secret, about("issueUpdate", "2", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
		c.expect(opText, `{"type":"issueUpdate","id":"2","data":[]}`)
		c.token = airlayToken(t, airlayUser, time.Hour)
		c.ask("detach", "issueUpdate", "9", airlayOK)
		began := time.Now()
		c.expect(opText, airlayInvalid)
		if after := time.Since(began); after != 10*time.Minute {
			t.Errorf("what the admin attached ended after %v", after)
		}
		d.publish(t, secret, about("issueUpdate", "2", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"2","data":[]}`)
		_ = c.Close()
	})
}

// A token whose end has come with nothing resting on it is not worth a message.
func TestAirlay_ExpiryOfNothing(t *testing.T) {
	onAirlaysTime(t, []string{airlayUser}, func(t *testing.T, s *system, p *pipes, _ *directory) {
		c := p.dialAirlay(s, airlayToken(t, airlayUser, time.Hour))
		c.ask("attach", "issueUpdate", "1", airlayOK)
		c.ask("detach", "issueUpdate", "1", airlayOK)
		<-time.After(2 * time.Hour)
		c.silent()
		_ = c.Close()
	})
}
