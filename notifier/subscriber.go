package notifier

// Encoder turns events into one frame of its protocol. Encoders are compared
// with ==: subscribers that share an encoder share its frames, so a frame must
// depend on nothing but the events.
type Encoder interface {
	// Encode returns the bytes to be written for the events, which are at
	// least one, in order. The result is shared and never changed; nil if they
	// are not for clients of this protocol.
	Encode(events []*Event) []byte
	// Joins reports whether one frame may carry several events. Then those of
	// one transaction that follow one another for a subscriber go out in one.
	Joins() bool
}

// Receiver is where a subscriber's frames go: its connection. The hub calls it
// from the goroutine that publishes, so no method may ever wait for a client.
type Receiver interface {
	// Queue takes a shared frame that carries that many events, of which first is
	// the first; nil: it carries none. A receiver that has no room left drops
	// all events that wait and returns the first one that it has not kept.
	Queue(frame []byte, events int, first *Event) (lost *Event)
	// Flush asks for what is queued to be written.
	Flush()
	// End closes the connection for that reason, after what is queued.
	End(reason Ending)
	// Behind says that the subscriber has fallen behind, as Queue had no room:
	// [Hub.CatchUp] is needed to bring it back.
	Behind()
	// Broken says that the log has become another one, which begins for the client
	// at that cursor: what happened in between is not known.
	Broken(now Cursor)
	// Revoke tells the client, if its protocol has words for that, that these
	// subscriptions have ended because of that loss: all of them at once, as
	// there may be thousands.
	Revoke(ended []*Subscription, lost Loss)
}

// Loss is what a subscription has ended for.
type Loss int

// The losses.
const (
	LostAccess  Loss = iota // the viewer may not read any more what the permit is about
	LostAccount             // the account that the client logged in to is not what it was
)

// revoke tells the subscribers of their losses. It is called without the lock.
func revoke(lost []*Subscription, why Loss) {
	bySubscriber := make(map[*Subscriber][]*Subscription)
	for _, sub := range lost {
		bySubscriber[sub.subscriber] = append(bySubscriber[sub.subscriber], sub)
	}
	for s, ended := range bySubscriber {
		s.receiver.Revoke(ended, why)
	}
}

// Subscriber is one client as the hub sees it: a user, the form its events
// take, and where they go.
type Subscriber struct {
	user     string
	encoder  Encoder
	receiver Receiver

	// What follows belongs to the hub.
	subscriptions []*Subscription // each knows its place
	seen          *Event          // the event that was last matched: several filters of one subscriber deliver once
	pending       *run            // events that wait to be joined in one frame
	touched       bool            // is in the hub's list of receivers to flush
	revision      int             // grows with each change of the subscriptions
	behind        *Cursor         // where it is, if it gets nothing by itself; nil: it is live
	marked        *Cursor         // the last that was sent by itself
	fellAt        int64           // when it was live last, in nanoseconds as of Unix; it counts while it is behind
}

// NewSubscriber describes a client of the user, "" if it may act for several; the
// hub knows it from its [Hub.Join].
func NewSubscriber(user string, encoder Encoder, receiver Receiver) *Subscriber {
	return &Subscriber{user: user, encoder: encoder, receiver: receiver}
}

// User returns the id of the user the client acts for.
func (s *Subscriber) User() string { return s.user }

// Subscription is one filter of one subscriber, as returned by
// [Hub.Subscribe].
type Subscription struct {
	subscriber *Subscriber
	viewer     Viewer
	reader     *reader // what is known of the viewer
	filter     Filter
	plain      bool // a topic that hits needs no look at the filter, but for the time
	permit     Permit
	start      *Cursor // where it began; many share it
	entries    []entry // where the index keeps it
	place      int     // among its subscriber's, from 1; 0: it has ended
}

// keep adds a subscription to the subscriber's. A slice, as most have one: a map
// would cost each idle client 250 bytes.
func (s *Subscriber) keep(sub *Subscription) {
	s.subscriptions = append(s.subscriptions, sub)
	sub.place = len(s.subscriptions)
	s.revision++
}

// discard takes one away; the last one comes to its place.
func (s *Subscriber) discard(sub *Subscription) {
	end := len(s.subscriptions) - 1
	last := s.subscriptions[end]
	s.subscriptions[sub.place-1], last.place = last, sub.place
	s.subscriptions[end] = nil
	s.subscriptions = s.subscriptions[:end]
	sub.place = 0
	s.revision++
}
