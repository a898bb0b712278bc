package testcontainers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
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
	// WithoutCursors is a client as it was before notifier, which knows of no cursors. It
	// misses what happens while it is away, but by ernius, see Since. SSE has none such: a
	// browser's EventSource keeps its cursor by itself.
	WithoutCursors bool
	// Since is the time that an ernius client without cursors announces, again each time that it
	// connects: it gets everything since, also what it had. In whole seconds, rounded
	// down; zero is when it first connects.
	Since time.Time
	// WithoutToken is a client that shows none, for NOTIFIER_ANONYMOUS. Its user is
	// whoever it says, in ernius, and else of no account, "" being anonymous.
	WithoutToken bool
}

func (s Subscription) String() string {
	text := line([]string{s.User, "(" + string(s.Protocol), strings.Join(s.Topics, ", ")})
	if s.WithoutCursors {
		text += ", without cursors"
	}
	if s.WithoutToken {
		text += ", without a token"
	}
	return text + ")"
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

// Subscriber is a client that is subscribed. It notes all that it gets, from its own
// goroutine.
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

// Subscribe makes any client. It returns once the server has confirmed the
// subscription, or the refusal as an error.
func (i *Instance) Subscribe(t testing.TB, s Subscription) (*Subscriber, error) {
	speaks, ok := dialects[s.Protocol]
	if !ok {
		return nil, fmt.Errorf("there is no protocol %q", s.Protocol)
	}
	if s.WithoutCursors && s.Protocol == SSE {
		return nil, errors.New("SSE has no clients without cursors: a browser keeps its own")
	}
	if s.WithoutToken && s.User == "" {
		s.User = "anonymous"
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
// is told. A connection that is open is broken first. A client without cursors is told
// nothing, and goes on from now, or by ernius from the time that it announces.
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

// cursorMember is the cursor of a topic as a member of a JSON object, behind others.
func (s *Subscriber) cursorMember(topic string) string {
	if s.WithoutCursors {
		return ""
	}
	return `,"cursor":` + text(s.cursor(topic))
}

// token is what the client shows, "": nothing.
func (s *Subscriber) token() string {
	if s.WithoutToken {
		return ""
	}
	return s.instance.environment.Token(s.User, s.Roles...)
}

func (s *Subscriber) cursor(topic string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[topic]
}
