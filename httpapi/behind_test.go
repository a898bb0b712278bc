package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// staleFirst answers the second question as of long ago, and has something happen
// before it answers the third.
type staleFirst struct {
	*directory
	asked  int
	happen func()
}

func (s *staleFirst) Admit(ctx context.Context, user, eventType, key string) (notifier.Admission, error) {
	a, err := s.directory.Admit(ctx, user, eventType, key)
	switch s.asked++; s.asked {
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

// What a slow client has missed is not sent to who logs in next, either.
func TestSysadm_NoMissedEventsAfterLoggingOut(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d, smallBuffers, func(c *httpapi.Config) { c.Outbox.Events = 3 })
	c := &sysadmClient{s.dialNarrow("/", "Origin: sysadm-client", "Authorization: Bearer "+token(t, sysadmUser, time.Hour, nil))}
	c.subscribe("dispatcher")
	var events []notifier.Event
	for n := range 300 {
		events = append(events, ofType("dispatcher", fmt.Sprintf(`"%d%s"`, n, strings.Repeat("x", 1000))))
	}
	d.publish(t, events...)
	until(t, "it catches up", func() bool { return s.hub.Stats().Readers == 1 })
	c.expect(opText, sysadmMessage("dispatcher", string(events[0].Payload)))
	c.text(`{"namespace":"rpc","name":"auth_clear"}`)
	c.text(`{"namespace":"rpc","name":"query","id":"a"}`)
	for {
		got, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if got.payload == fmt.Sprintf(sysadmUnauthorized, "a") {
			break
		}
	}
	for range 10 {
		c.quiet()
	}
}

// forNobody is a store where it takes for ever to find out about a cursor.
type forNobody struct {
	*store
	asked, given chan struct{}
}

func (s *forNobody) Resumable(ctx context.Context, _ notifier.Cursor) (bool, error) {
	close(s.asked)
	<-ctx.Done()
	close(s.given)
	return false, ctx.Err()
}

// Nothing is read for a client that is gone, though nobody listens to it meanwhile.
func TestResume_ClientThatBreaksOff(t *testing.T) {
	t.Parallel()
	log := &forNobody{asked: make(chan struct{}), given: make(chan struct{})}
	s := setup(t, func(c *httpapi.Config) {
		log.store = c.Store.(*store)
		c.Store, c.PingInterval = log, 10*time.Millisecond
	})
	first := s.dial("/subscribe_to_events")
	first.text(`{"access_id":"u","cursor":""}`)
	at := first.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	c := s.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":"` + at + `"}`)
	<-log.asked
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	select {
	case <-log.given:
	case <-time.After(patience):
		t.Error("the log is still read")
	}
}

// A client is cut off in the middle of a large batch, after which the log is quiet:
// transactions that wrote no events had ended, too, when it was read.
func TestResume_InsideALargeBatch(t *testing.T) {
	t.Parallel()
	r := newResuming(t)
	c := r.dial("/subscribe_to_events")
	c.text(`{"access_id":"u","cursor":""}`)
	c.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	tx, err := r.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const count = 2500
	if _, err := tx.Exec(t.Context(), `INSERT INTO notifier.events (type, recipient, payload)
		SELECT 't', 'u', n::text::json FROM generate_series(1, $1) n`, count); err != nil {
		t.Fatal(err)
	}
	other := dbtest.Connect(t, r.conn.Config().ConnString())
	for range 10 {
		if _, err := other.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var first []struct{ Cursor string }
	for had := 0; had < count; {
		var list []struct{ Cursor string }
		got, err := c.readText()
		if err == nil {
			err = json.Unmarshal([]byte(got.payload), &list)
		}
		if err != nil {
			t.Fatal(err)
		}
		if had += len(list); first == nil {
			first = list
		}
	}
	again := r.dial("/subscribe_to_events")
	again.text(`{"access_id":"u","cursor":"` + first[9].Cursor + `"}`)
	again.expectShape(fmt.Sprintf(`{"verdict":"replayed","replayed":%d,"cursor":"CURSOR"}`, count-10))
}

// failing is a log that can't be read, and that grows in the moment when it is tried.
type failing struct{ grow func() }

func (l *failing) Between(context.Context, notifier.Position, notifier.Position, int64, func([]*notifier.Event) error) error {
	l.grow()
	return errors.New("out of order")
}

func (l *failing) Resumable(context.Context, notifier.Cursor) (bool, error) { return true, nil }

// A client whose missed events can't be read gets none that came later, either: it
// would go on behind them the next time.
func TestResume_NothingComesInPlaceOfAnAnswer(t *testing.T) {
	t.Parallel()
	log := &failing{}
	st := &store{hub: notifier.NewHub(notifier.HubConfig{Log: log, RecentBytes: 2000}), xid: 100}
	st.hub.Start(notifier.Beginning{Position: position(st.xid)})
	s := setup(t, func(c *httpapi.Config) { c.Hub, c.Store = st.hub, st })
	s.store = st
	log.grow = func() { s.push(event("u", 2, "2")) }
	first := s.dial("/subscribe_to_events")
	first.text(`{"access_id":"u","cursor":""}`)
	at := first.expectShape(`{"verdict":"resumed","replayed":0,"cursor":"CURSOR"}`)
	for range 10 { // what memory does not hold any more
		s.push(event("u", 1, "1"))
	}
	for range 100 {
		c := s.dial("/subscribe_to_events")
		c.text(`{"access_id":"u","cursor":"` + at + `"}`)
		if got, err := c.read(); err != nil || got.op != opClose {
			t.Fatalf("%q, %v", got.payload, err)
		}
		_ = c.Close()
	}
}
