package db_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/notifier"
)

// delivery is an event as a subscriber got it: its id, and by whom it was
// written as which of his.
type delivery struct {
	id    int64
	token token
}

const deliverySize = 16

// tally encodes events into deliveries.
type tally struct{}

func (tally) Encode(events []*notifier.Event) []byte {
	frame := make([]byte, 0, deliverySize*len(events))
	for _, e := range events {
		by := parseToken(e.Principal)
		frame = binary.LittleEndian.AppendUint64(frame, uint64(e.ID))
		frame = binary.LittleEndian.AppendUint32(frame, uint32(by.writer))
		frame = binary.LittleEndian.AppendUint32(frame, uint32(by.n))
	}
	return frame
}

func (tally) Joins() bool { return true }

func decode(frame []byte) []delivery {
	var list []delivery
	for ; len(frame) > 0; frame = frame[deliverySize:] {
		list = append(list, delivery{
			id: int64(binary.LittleEndian.Uint64(frame)),
			token: token{
				writer: int32(binary.LittleEndian.Uint32(frame[8:])),
				n:      int32(binary.LittleEndian.Uint32(frame[12:])),
			},
		})
	}
	return list
}

// token names an event for all time: the writer, and the how manyeth of his.
type token struct{ writer, n int32 }

func parseToken(text string) token {
	writer, n, _ := strings.Cut(text, "/")
	w, err := strconv.ParseInt(writer, 10, 32)
	m, err2 := strconv.ParseInt(n, 10, 32)
	if err != nil || err2 != nil {
		return token{-1, -1}
	}
	return token{int32(w), int32(m)}
}

// inbox is a receiver in memory.
type inbox struct {
	mu    sync.Mutex
	bytes []byte
	ended notifier.Ending
}

// Revoke never happens: there is no policy.
func (*inbox) Revoke([]*notifier.Subscription, notifier.Loss) {}

// Behind never happens: there is always room.
func (*inbox) Behind() {}

func (i *inbox) Broken(notifier.Cursor) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = "broken"
}

func (i *inbox) Queue(frame []byte, events int, _ *notifier.Event) *notifier.Event {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bytes = append(i.bytes, frame...)
	if len(frame) != events*deliverySize {
		i.ended = "miscounted"
	}
	return nil
}

func (i *inbox) Flush() {}

func (i *inbox) End(reason notifier.Ending) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = reason
}

func (i *inbox) all() []delivery {
	i.mu.Lock()
	defer i.mu.Unlock()
	return decode(i.bytes)
}

func (i *inbox) len() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.bytes) / deliverySize
}

// session is what one subscriber asked for, and got.
type session struct {
	user  int // -1: events of all
	since time.Time

	subscriber *notifier.Subscriber
	inbox      inbox
	joined     notifier.Point
	replayed   []delivery
	whole      bool // the replay went to its end

	// The session ended between these two places of the log.
	before, after notifier.Point
	end           time.Time

	first verdict // the first thing that was wrong
}

func (x *torture) join(user int, since time.Time) *session {
	s := &session{user: user, since: since}
	f := notifier.Filter{Since: since}
	name := "everybody"
	if user >= 0 {
		name = userName(user)
		f.Recipient = &name
	}
	s.subscriber = notifier.NewSubscriber(name, tally{}, &s.inbox)
	x.hub.Join(s.subscriber)
	_, s.joined, _ = x.hub.Subscribe(s.subscriber, notifier.Viewer{User: name}, f, notifier.Permit{}) // it has just joined
	return s
}

func userName(user int) string { return "user" + strconv.Itoa(user) }

// leave ends a session and keeps it for the verdict.
func (x *torture) leave(s *session) {
	s.before = x.hub.Point()
	x.hub.Leave(s.subscriber)
	s.after = x.hub.Point()
	s.end = time.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sessions = append(x.sessions, s)
}

var errBored = errors.New("the subscriber left")

// replay asks for what is stored. A patient subscriber wants all of it.
func (x *torture) replay(t *testing.T, s *session, patient bool) {
	name := userName(s.user)
	f := notifier.Filter{Recipient: &name, Since: s.since}
	err := x.d.Replay(t.Context(), []notifier.Filter{f}, s.joined, func(page []*notifier.Event) error {
		s.replayed = append(s.replayed, decode(tally{}.Encode(page))...)
		if !patient {
			return errBored
		}
		return nil
	})
	s.whole = err == nil
	if err != nil {
		x.counts.abandoned.Add(1)
	}
}

// everything is a subscriber of all events from the beginning on.
func (x *torture) everything(_ *testing.T) *session {
	s := x.join(-1, time.Time{})
	s.whole = true
	return s
}

// moveIn makes the subscribers who stay.
func (x *torture) moveIn(t *testing.T) []*session {
	var stay []*session
	for user := range residents {
		s := x.join(user, time.Time{})
		x.replay(t, s, true)
		stay = append(stay, s)
	}
	return stay
}

// receiveVisitors has subscribers come and go until leave is closed.
func (x *torture) receiveVisitors(t *testing.T, leave <-chan struct{}) *sync.WaitGroup {
	var group sync.WaitGroup
	for v := range uint64(visitors) {
		rng := rand.New(rand.NewPCG(v, 1))
		group.Go(func() { // ends soon after leave is closed
			for !closed(leave) {
				x.visit(t, rng, leave)
			}
		})
	}
	return &group
}

func (x *torture) visit(t *testing.T, rng *rand.Rand, leave <-chan struct{}) {
	since := time.Now().Add(-time.Duration(rng.Int64N(int64(2 * time.Second))))
	switch rng.IntN(20) {
	case 0:
		since = time.Time{}
	case 1:
		since = time.Now().Add(time.Hour) // so only odd ones
	}
	s := x.join(rng.IntN(users), since)
	x.replay(t, s, rng.IntN(20) > 0)
	x.awaitOthers(rng.Int64N(100), leave)
	if x.committed.Load() == 0 || closed(x.stop) {
		x.awaitNews(leave) // the writers have ended: don't spin
	}
	x.leave(s)
}

// awaitNews waits for the hub to move, or for the end.
func (x *torture) awaitNews(leave <-chan struct{}) {
	from := x.hub.Point()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p := from; p.After == from.After && p.To.Equal(from.To); p = x.hub.Point() {
		select {
		case <-tick.C:
		case <-leave:
			return
		}
	}
}
