package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// traced has a server find events in its store, whose policy forbids nothing.
func traced(c *httpapi.Config) {
	events := c.Store.(*store)
	c.Operation.Trace = func(_ context.Context, user string, id int64) (notifier.Trace, error) {
		events.mu.Lock()
		defer events.mu.Unlock()
		if id > int64(len(events.events))+1 {
			return notifier.Trace{}, errors.New("no database")
		}
		row := notifier.TracedRow{TxID: 1 << 40, CreatedAt: time.Unix(1, 0), Type: "message", Recipient: &user} // not read yet
		if id <= int64(len(events.events)) {
			e := events.events[id-1]
			row = notifier.TracedRow{TxID: e.TxID, CreatedAt: e.CreatedAt, Type: e.Type, Recipient: e.Recipient}
		}
		return notifier.Trace{
			User: user, ID: id, Fate: notifier.FateStored, Row: &row,
			Policy: &notifier.TracedPolicy{Exists: true, MayRead: true}, Changes: []notifier.TracedChange{},
		}, nil
	}
}

func (s *system) explains(user string, id int64) (e instances.Explanation) {
	s.t.Helper()
	status, _, text := s.request("GET", fmt.Sprintf("/admin/explain?user=%s&event=%d", user, id), "")
	if status != 200 {
		s.t.Fatalf("%d %s", status, text)
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

// How far an event has come to a client: that is told by the instance where it is.
func TestExplain_HowFarItHasCome(t *testing.T) {
	t.Parallel()
	s := setup(t, operated(notifier.Instance{ID: "other", Name: "other"}), traced, func(c *httpapi.Config) {
		c.Outbox, c.SendBuffer = notifier.OutboxLimits{Events: 2}, 4096
	})
	s.announce("slow", 0) // and does not read
	for range 60 {
		s.push(event("slow", 1, `"`+strings.Repeat("x", 100_000)+`"`))
	}
	until(t, "one is behind", func() bool { return s.hub.Stats().Readers == 1 })
	if e := s.explains("slow", 60); e.Reason != instances.IsBehind || !strings.Contains(e.Conclusion, "is behind since") ||
		!strings.Contains(e.Conclusion, "nothing is known: other has no admin address") {
		t.Errorf("%s: %s", e.Reason, e.Conclusion)
	}
	if e := s.explains("slow", 1); e.Reason != instances.Delivered {
		t.Errorf("%s: %s", e.Reason, e.Conclusion)
	}
	if e := s.explains("slow", 61); e.Reason != instances.Unread || e.Instances[1].Passed {
		t.Errorf("%s: %s", e.Reason, e.Conclusion)
	}
	idle := s.dial("/ws")
	s.live(idle)
	if e := s.explains("else", 61); e.Reason != instances.NotConnected || len(e.Instances) != 2 || e.Instances[0].Connections == nil {
		t.Errorf("%s: %+v", e.Reason, e.Instances)
	}
}

func TestExplain_BadQuestions(t *testing.T) {
	t.Parallel()
	s := setup(t, operated(), traced)
	for path, want := range map[string]string{
		"?event=1":               `400 {"error":"user is missing"}`,
		"?user=u":                `400 {"error":"event is not the id of an event"}`,
		"?user=u&event=x":        `400 {"error":"event is not the id of an event"}`,
		"?user=u&event=-1":       `400 {"error":"event is not the id of an event"}`,
		"?user=u&event=1&scope=": ``,
		"?user=u&event=9":        `503 {"error":"the database did not answer: see the log"}`,
	} {
		status, _, text := s.request("GET", "/admin/explain"+path, "")
		if got := fmt.Sprint(status, " ", text); want != "" && got != want || want == "" && status != 200 {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if status, _, _ := setup(t).request("GET", "/admin/explain?user=u&event=1", ""); status != 404 {
		t.Errorf("of a server without a log: %d", status)
	}
}
