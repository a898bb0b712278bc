package httpapi_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// staleFirst answers the first question about a type as of long ago, and has
// something happen before it answers the second.
type staleFirst struct {
	*directory
	eventType string
	asked     int
	happen    func()
}

func (s *staleFirst) Admit(ctx context.Context, user, eventType, key string) (notifier.Admission, error) {
	a, err := s.directory.Admit(ctx, user, eventType, key)
	if s.asked >= 0 {
		s.asked++
	}
	switch s.asked {
	case 2:
		a.At = position(1)
	case 3:
		s.happen()
	}
	return a, err
}

// What comes for a connection while it is asked again whether it may subscribe to
// more is not held back, so the newest event of that type need not wait for it.
func TestSysadm_NewestEventWhenAccessChangesMeanwhile(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	stale := &staleFirst{directory: d, happen: func() { d.publish(t, ofType("dispatcher", "1")) }}
	s := sysadmSystem(t, d, func(c *httpapi.Config) { c.Store = stale })
	user := sysadmUser
	d.control(&notifier.Event{Control: notifier.ControlAccessChanged, Recipient: &user})
	c := s.sysadm(sysadmUser)
	c.subscribe("dispatcher")
	c.text(`{"args":"system-state","id":"s","name":"subscribe","namespace":"events"}`)
	c.expect(opText, sysadmMessage("dispatcher", "1"))
	c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"s","name":"response","namespace":"events"}`)
}

// lookingBack has something happen while it is found out whether a client can
// resume.
type lookingBack struct {
	*store
	happen func()
}

func (s *lookingBack) Resumable(context.Context, notifier.Cursor) (bool, error) {
	if s.happen != nil {
		s.happen()
	}
	return true, nil
}

// object is an event of airlay's.
func object(key string, payload string) notifier.Event {
	return notifier.Event{Type: "t", Key: key, CreatedAt: time.Unix(1, 0), Payload: []byte(payload)}
}

// A client that falls behind in the moment in which it resumes gets what it missed
// of both, each once.
func TestResume_FallsBehindMeanwhile(t *testing.T) {
	t.Parallel()
	p := newPipes()
	var log *lookingBack
	s := setupOn(t, p, func(c *httpapi.Config) {
		log = &lookingBack{store: c.Store.(*store)}
		c.Store, c.Outbox.Events = log, 3
	})
	first := p.dialTo(s, "/ws")
	first.text(`{"action":"attach","event":{"type":"t","id":"b"},"cursor":""}`)
	start := first.expectShape(`{"status":200,"message":"Ok","code":0,"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	c := p.dialTo(s, "/ws")
	c.text(`{"action":"attach","event":{"type":"t","id":"a"},"cursor":""}`)
	c.expectShape(`{"status":200,"message":"Ok","code":0,"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	s.push(object("b", "1"))
	first.expectShape(`{"type":"t","id":"b","data":[1],"cursor":"CURSOR"}`)
	fell := make(chan struct{})
	log.happen = sync.OnceFunc(func() {
		for n := range 20 {
			s.push(object("a", fmt.Sprintf(`%d,"%s"`, n, strings.Repeat("x", 8000))))
		}
		close(fell)
	})
	c.text(`{"action":"attach","event":{"type":"t","id":"b"},"cursor":"` + start + `"}`)
	<-fell // and nothing was read
	got := make(map[string]int)
	for range 22 {
		f, err := c.readText()
		if err != nil {
			t.Fatalf("%v, after %v", err, got)
		}
		plain, _ := shape(t, f.payload)
		got[strings.ReplaceAll(plain, "x", "")]++
	}
	for n := range 20 {
		if count := got[fmt.Sprintf(`{"type":"t","id":"a","data":[%d,""],"cursor":"CURSOR"}`, n)]; count != 1 {
			t.Errorf("event %d of a came %d times", n, count)
		}
	}
	if got[`{"type":"t","id":"b","data":[1],"cursor":"CURSOR"}`] != 1 {
		t.Errorf("the event of b did not come: %v", got)
	}
}

// dialTo opens a WebSocket of any protocol over a pipe.
func (p *pipes) dialTo(s *system, path string) *client {
	s.t.Helper()
	mine, theirs := net.Pipe()
	p.dialed <- theirs
	c, status := s.upgrade(mine, path)
	if status != 101 {
		s.t.Fatalf("status %d", status)
	}
	return c
}
