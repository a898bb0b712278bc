package testcontainers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Protocol is one of those that notifier speaks.
type Protocol string

// The protocols.
const (
	Ernius Protocol = "ernius"
	Airlay Protocol = "airlay"
	DRP    Protocol = "DRP"
	Sysadm Protocol = "sysadm"
	SSE    Protocol = "SSE"
)

// Subscription is what a client asks for.
type Subscription struct {
	Protocol Protocol
	User     string
	Roles    []string // publisher, admin
	// Topics are, in DRP and SSE, filters TYPE.ACTION.KEY; in airlay objects TYPE/ID, or
	// notification; in sysadm types. Ernius has none: it is what is for the user. SSE
	// without any, too.
	Topics []string
	// Cursor is where to go on, "": now.
	Cursor string
}

func (s Subscription) String() string {
	return line([]string{s.User, "(" + string(s.Protocol), strings.Join(s.Topics, ", ")}) + ")"
}

// Verdict is what a client was told of its cursor: resumed, replayed, or gap.
type Verdict struct {
	Word string `json:"verdict"`
	// Replayed counts the events that follow, fences included.
	Replayed int `json:"replayed"`
}

// End is how a connection ended.
type End struct {
	// Code is that of the close frame; 0: there was none.
	Code   int
	Reason string
}

// Subscriber is a client that is subscribed, always with cursors. It notes all that it
// gets, from its own goroutine.
type Subscriber struct {
	Subscription
	t        testing.TB
	instance *Instance
	topic    string // the one of its fences
	speaks   dialect

	mu      sync.Mutex
	events  []Event
	seen    int // of these, how many an Expect has dealt with
	fences  map[string]int
	notices []json.RawMessage
	cursors map[string]string // by topic, where each has its own; else of ""
	session *session          // nil: it is not connected
	ended   *End              // of the last session
	changed chan struct{}     // closed when anything of this changes
}

// Ernius subscribes a user to what is addressed to it.
func (i *Instance) Ernius(t testing.TB, user string) *Subscriber {
	t.Helper()
	return i.mustSubscribe(t, Subscription{Protocol: Ernius, User: user})
}

// Airlay subscribes a user to objects, TYPE/ID, or to notification.
func (i *Instance) Airlay(t testing.TB, user string, objects ...string) *Subscriber {
	t.Helper()
	return i.mustSubscribe(t, Subscription{Protocol: Airlay, User: user, Topics: objects})
}

// DRP subscribes a user to filters, TYPE.ACTION.KEY, of Digital Rebar.
func (i *Instance) DRP(t testing.TB, user string, filters ...string) *Subscriber {
	t.Helper()
	return i.mustSubscribe(t, Subscription{Protocol: DRP, User: user, Topics: filters})
}

// Sysadm subscribes a user to types.
func (i *Instance) Sysadm(t testing.TB, user string, types ...string) *Subscriber {
	t.Helper()
	return i.mustSubscribe(t, Subscription{Protocol: Sysadm, User: user, Topics: types})
}

// SSE subscribes a user to filters, TYPE.ACTION.KEY, by Server-Sent Events; without
// any, to what is addressed to it.
func (i *Instance) SSE(t testing.TB, user string, filters ...string) *Subscriber {
	t.Helper()
	return i.mustSubscribe(t, Subscription{Protocol: SSE, User: user, Topics: filters})
}

func (i *Instance) mustSubscribe(t testing.TB, s Subscription) *Subscriber {
	t.Helper()
	one, err := i.Subscribe(t, s)
	if err != nil {
		t.Fatalf("subscribe %v: %v", s, err)
	}
	return one
}

// Subscribe makes any client. It returns once the server has confirmed the
// subscription, or the refusal as an error.
func (i *Instance) Subscribe(t testing.TB, s Subscription) (*Subscriber, error) {
	speaks, ok := dialects[s.Protocol]
	if !ok {
		return nil, fmt.Errorf("there is no protocol %q", s.Protocol)
	}
	one := &Subscriber{
		Subscription: s, t: t, instance: i, speaks: speaks,
		fences: map[string]int{}, cursors: map[string]string{"": s.Cursor}, changed: make(chan struct{}),
	}
	for _, topic := range s.Topics {
		one.cursors[topic] = s.Cursor
	}
	one.topic = i.environment.register(one)
	t.Cleanup(one.Disconnect)
	_, err := one.connect(i)
	return one, err
}

// register gives a subscriber its name.
func (e *Environment) register(s *Subscriber) (name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count++
	e.subscribers = append(e.subscribers, s)
	return fmt.Sprintf("s%d", e.count)
}

// Resume reconnects where the client was, at the same instance, and returns what it
// is told. A connection that is open is broken first.
func (s *Subscriber) Resume() Verdict {
	s.t.Helper()
	return s.ResumeAt(s.instance)
}

// ResumeAt is Resume at another instance.
func (s *Subscriber) ResumeAt(i *Instance) Verdict {
	s.t.Helper()
	s.Disconnect()
	verdict, err := s.connect(i)
	if err != nil {
		s.t.Fatalf("resume %v: %v", s.Subscription, err)
	}
	return verdict
}

func (s *Subscriber) connect(i *Instance) (Verdict, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), i.environment.suite.config.patience)
	defer cancel()
	s.mu.Lock()
	s.instance, s.ended = i, nil
	s.mu.Unlock()
	session, verdict, err := open(ctx, s)
	if err != nil {
		return verdict, err
	}
	s.mu.Lock()
	s.session = session
	s.mu.Unlock()
	session.follow()
	return verdict, nil
}

// Disconnect breaks the connection, if there is one, without a word to the server.
func (s *Subscriber) Disconnect() {
	s.mu.Lock()
	session := s.session
	s.session = nil
	s.mu.Unlock()
	if session != nil {
		session.close()
	}
}

// Stall has the client read nothing more, as one that hangs, until Unstall.
func (s *Subscriber) Stall() {
	s.t.Helper()
	s.connected().gate.close()
}

// Unstall has it go on.
func (s *Subscriber) Unstall() {
	s.t.Helper()
	s.connected().gate.open()
}

func (s *Subscriber) connected() *session {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		s.t.Fatalf("%v is not connected", s.Subscription)
	}
	return s.session
}

// Events returns all that has come by now, fences apart. Those that may still be on
// their way, [Subscriber.Expect] waits for.
func (s *Subscriber) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

// Notices returns what else the server has said by now, such as airlay's code 4 when
// access is revoked.
func (s *Subscriber) Notices() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]json.RawMessage(nil), s.notices...)
}

// change does something to what the client has, and wakes who waits for that.
func (s *Subscriber) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits for a condition, which is asked under the lock.
func (s *Subscriber) until(ctx context.Context, condition func() bool) bool {
	for {
		s.mu.Lock()
		ok, changed := condition(), s.changed
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// receive notes an event, and at once where the client is.
func (s *Subscriber) receive(topic string, e Event) {
	s.change(func() {
		if e.Cursor != "" {
			s.cursors[topic] = e.Cursor
		}
		if nonce, ok := fenceOf(e); ok {
			s.fences[nonce] = len(s.events)
			return
		}
		s.events = append(s.events, e)
	})
}

// notice keeps a message that is no event.
func (s *Subscriber) notice(message []byte) {
	s.change(func() { s.notices = append(s.notices, append(json.RawMessage(nil), message...)) })
}

// move notes that the client is farther on in some topics; without any, where it
// has one cursor for all.
func (s *Subscriber) move(cursor string, topics ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(topics) == 0 {
		topics = []string{""}
	}
	for _, topic := range topics {
		s.cursors[topic] = cursor
	}
}

func (s *Subscriber) cursor(topic string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[topic]
}
