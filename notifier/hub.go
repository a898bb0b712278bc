package notifier

import (
	"maps"
	"slices"
	"sync"
)

// Page is a part of the batch of events between two positions.
type Page struct {
	From, To Position
	Events   []*Event // in the order of their ids
	Last     bool     // nothing of the batch follows
}

// Hub finds for each event the subscribers it is for and queues it at their
// receivers. It is fed by one goroutine, by Start and Publish; all other
// methods may be called from any. Create one with [NewHub].
type Hub struct {
	mu          sync.Mutex
	point       Point
	index       index
	subscribers map[*Subscriber]struct{}
	users       map[string]map[*Subscriber]struct{}

	// Only the feeding goroutine uses these, under mu.
	touched []*Subscriber
	dropped []*Subscriber
}

// NewHub returns a hub without subscribers that stands before all history.
func NewHub() *Hub {
	return &Hub{
		index:       newIndex(),
		subscribers: make(map[*Subscriber]struct{}),
		users:       make(map[string]map[*Subscriber]struct{}),
	}
}

// Start puts the hub at a position without delivering anything: where live
// begins. The feed calls it before the first page, and again when the history
// it followed has broken off.
func (h *Hub) Start(p Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.point = Point{From: p, To: p}
}

// Point returns the place up to which the hub has published.
func (h *Hub) Point() Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.point
}

// Join makes the subscriber known, so that it is listed, and dropped with its
// user. It receives nothing before it subscribes.
func (h *Hub) Join(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; ok {
		return
	}
	s.subscriptions = make(map[*Subscription]struct{}, 1)
	h.subscribers[s] = struct{}{}
	if h.users[s.user] == nil {
		h.users[s.user] = make(map[*Subscriber]struct{}, 1)
	}
	h.users[s.user][s] = struct{}{}
}

// Subscribe adds a filter to a subscriber that has joined. Every event the
// filter wants that the returned point does not cover will be queued; replay
// owes those it covers. An event that several filters of one subscriber want is
// queued once. If the subscriber has left or was dropped, the subscription is
// nil.
func (h *Hub) Subscribe(s *Subscriber, f Filter) (*Subscription, Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; !ok {
		return nil, h.point
	}
	sub := &Subscription{subscriber: s, filter: f, plain: f.plain()}
	s.subscriptions[sub] = struct{}{}
	h.index.add(sub)
	return sub, h.point
}

// Unsubscribe takes a filter back; a second time it does nothing.
func (h *Hub) Unsubscribe(sub *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := sub.subscriber.subscriptions[sub]; ok {
		delete(sub.subscriber.subscriptions, sub)
		h.index.remove(sub)
	}
}

// Leave forgets the subscriber and all its subscriptions; a second time it does
// nothing.
func (h *Hub) Leave(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveLocked(s)
}

func (h *Hub) leaveLocked(s *Subscriber) {
	if _, ok := h.subscribers[s]; !ok {
		return
	}
	for sub := range s.subscriptions {
		h.index.remove(sub)
	}
	s.subscriptions = nil
	delete(h.subscribers, s)
	delete(h.users[s.user], s)
	if len(h.users[s.user]) == 0 {
		delete(h.users, s.user)
	}
}

// Users returns every user with a subscriber here once, sorted.
func (h *Hub) Users() []string {
	h.mu.Lock()
	users := slices.Collect(maps.Keys(h.users))
	h.mu.Unlock()
	slices.Sort(users)
	return users
}

// Publish delivers a page. Pages come in order: those of a batch, then the next
// batch, whose From is this one's To. It never waits for a client.
func (h *Hub) Publish(p Page) {
	touched, dropped := h.deliver(p)
	flush(touched)
	for _, s := range dropped {
		s.receiver.End(EndedByDrop)
	}
	clear(touched) // the lists are used again; they must not keep clients alive
	clear(dropped)
}

// deliver queues the page's events under the lock, so that a subscription is
// either before all of the page or after all of it.
func (h *Hub) deliver(p Page) (touched, dropped []*Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.touched, h.dropped = h.touched[:0], h.dropped[:0]
	for _, e := range p.Events {
		if e.Control != "" {
			h.obeyLocked(e)
			continue
		}
		h.matchLocked(e)
	}
	for _, s := range h.touched {
		s.emit()
		s.touched, s.seen = false, nil
	}
	switch {
	case p.Last:
		h.point = Point{From: p.To, To: p.To}
	case len(p.Events) > 0:
		h.point = Point{From: p.From, To: p.To, After: p.Events[len(p.Events)-1].ID}
	}
	return h.touched, h.dropped
}

func (h *Hub) obeyLocked(e *Event) {
	if e.Control != ControlDropUser || e.Recipient == nil {
		return // written by a newer version: it knows what to do
	}
	for s := range h.users[*e.Recipient] {
		s.emit()
		h.leaveLocked(s)
		h.dropped = append(h.dropped, s)
	}
}

func (h *Hub) matchLocked(e *Event) {
	var single *run // shared by all who get the event by itself
	h.index.match(e, func(sub *Subscription) {
		s := sub.subscriber
		if s.seen == e {
			return
		}
		s.seen = e
		if !s.touched {
			s.touched = true
			h.touched = append(h.touched, s)
		}
		if s.pending != nil && s.pending.event.TxID == e.TxID {
			s.pending = s.pending.extend(e)
			return
		}
		s.emit()
		if single == nil {
			single = newRun(e)
		}
		s.pending = single
		if !s.encoder.Joins() {
			s.emit()
		}
	})
}

// emit queues the frame that was still open for more events.
func (s *Subscriber) emit() {
	if s.pending == nil {
		return
	}
	s.receiver.Queue(s.pending.frame(s.encoder), s.pending.length)
	s.pending = nil
}
