package notifier

import (
	"context"
	"errors"
	"slices"
	"time"
)

// A subscriber whose receiver has no room is not ended: it falls behind. Its
// events are dropped, nothing more is queued for it, and it is served from the
// log at its own pace, as who resumes is, until it has caught up and is live
// again.

// fallLocked puts a subscriber behind, as its receiver has not kept an event, nor
// any after it.
func (h *Hub) fallLocked(s *Subscriber, lost *Event) {
	s.behind, s.fellAt = h.beforeLocked(lost), time.Now().UnixNano()
	h.readers++
	h.fallen = append(h.fallen, s)
}

// beforeLocked is the cursor right before an event; if that is of another history,
// it is where this one began.
func (h *Hub) beforeLocked(e *Event) *Cursor {
	if e.span.life != h.life {
		return h.begun
	}
	return &Cursor{History: h.history, Point: e.before(), Anchor: e.anchored()}
}

// CatchUp brings a subscriber that is behind back to live: it has what it missed
// sent, in chunks, and returns when the rest comes by itself. send waits until the
// client has taken what went before: the pace is the client's. It is also called
// with nothing, as what waits for the client must have gone before it can be live:
// the last events may find no room, and drop all that waits. There must be one
// CatchUp at a time for a subscriber; for one that is live, it does nothing.
// [ErrGap] says that not all can be had any more.
func (h *Hub) CatchUp(ctx context.Context, s *Subscriber, send func([]Missed) error) error {
	if err := send(nil); err != nil {
		return err
	}
	var p pursuit
	pause := firstPolicyRetry
	for {
		h.lookAfter(s, &p)
		found, open, state, err := h.pursue(s, &p)
		if err == nil && len(open) > 0 {
			err = p.ask(ctx, open, &pause)
		} else {
			pause = firstPolicyRetry
		}
		if err == nil && len(found) > 0 {
			err = send(found)
		}
		if err == nil && state == tooOld {
			err = p.readBack(ctx, send)
		}
		switch {
		case err != nil && h.isLive(s): // there is another history meanwhile
			return nil
		case errors.Is(err, ErrGone) && h.isHere(s): // its subscriptions are others meanwhile
		case err != nil:
			return err
		case p.walk == nil:
			s.receiver.Flush()
			return nil
		}
	}
}

// pursuit is a subscriber's walk back to live, nil when it is there.
type pursuit struct {
	*walk
	wants    wanted
	revision int // of its subscriptions
}

// lookAfter has a pursuit be after what the subscriber is subscribed to now. That
// may be thousands: not under the lock.
func (h *Hub) lookAfter(s *Subscriber, p *pursuit) {
	h.mu.Lock()
	if p.revision == s.revision {
		h.mu.Unlock()
		return
	}
	p.revision = s.revision
	subs := append([]*Subscription{}, s.subscriptions...)
	h.mu.Unlock()
	p.wants = wantedBy(subs)
	p.wants.late = true
}

// lastMissed is how many events are queued in one go with becoming live.
const lastMissed = 64

// pursue takes the next chunk; the last few events are queued at once, and the
// subscriber is live.
func (h *Hub) pursue(s *Subscriber, p *pursuit) (found []Missed, open []openQuestion, state walkState, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; !ok {
		return nil, nil, ended, ErrGone
	}
	if len(s.subscriptions) == 0 { // it is owed nothing
		h.goOnLocked(s)
	}
	if s.behind == nil {
		p.walk = nil
		return nil, nil, ended, nil
	}
	if p.walk == nil {
		p.walk = &walk{hub: h, life: h.life, at: s.behind.Point, anchor: s.behind.Anchor}
	}
	if p.revision != s.revision {
		return nil, nil, more, nil // look again
	}
	p.wanted = p.wants
	found, open, state, err = p.lookLocked()
	if err != nil || len(open) > 0 {
		return nil, open, state, err
	}
	if state != ended || len(found) > lastMissed {
		s.behind = new(p.cursorLocked())
		return found, nil, state, nil
	}
	if left := h.goLiveLocked(s, found); len(left) > 0 {
		s.behind = h.beforeLocked(left[0].Event)
		return left, nil, more, nil
	}
	p.walk = nil
	return nil, nil, state, nil
}

// goLiveLocked queues what a subscriber has missed last and makes it live. It
// returns what finds no room; then the subscriber stays behind.
func (h *Hub) goLiveLocked(s *Subscriber, last []Missed) (left []Missed) {
	for rest := last; len(rest) > 0; {
		frame, n := NextFrame(rest, s.encoder)
		if frame != nil {
			if lost := s.receiver.Queue(frame, n, rest[0].Event); lost != nil {
				return last[max(0, slices.IndexFunc(last, func(m Missed) bool { return m.Event == lost })):]
			}
		}
		rest = rest[n:]
	}
	h.goOnLocked(s)
	return nil
}

// goOnLocked has a subscriber get by itself what comes from now on.
func (h *Hub) goOnLocked(s *Subscriber) {
	if s.behind != nil {
		s.behind = nil
		h.readers--
	}
}

func (h *Hub) isLive(s *Subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.subscribers[s]
	return ok && s.behind == nil
}

func (h *Hub) isHere(s *Subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.subscribers[s]
	return ok
}

// SetEncoder has the subscriber's further events encoded by another encoder. It
// must not be behind.
func (h *Hub) SetEncoder(s *Subscriber, encoder Encoder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.encoder = encoder
}

// Halt has a live subscriber get nothing more by itself until [Hub.CatchUp], and
// what it then gets encoded by another encoder. It returns its subscriptions and
// where that is, or [ErrBehind].
func (h *Hub) Halt(s *Subscriber, encoder Encoder) (subs []*Subscription, here Cursor, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; !ok {
		return nil, here, ErrGone
	}
	if s.behind != nil {
		return nil, here, ErrBehind
	}
	s.encoder = encoder
	h.holdLocked(s)
	return append([]*Subscription{}, s.subscriptions...), *h.hereLocked(), nil
}

// holdLocked puts a subscriber that is live behind, from here on.
func (h *Hub) holdLocked(s *Subscriber) {
	s.behind, s.fellAt = h.hereLocked(), time.Now().UnixNano()
	h.readers++
}

// hereLocked is the cursor of the hub's point. As long as that is the same, it is
// the same pointer.
func (h *Hub) hereLocked() *Cursor {
	if h.here == nil || !h.here.Point.equal(h.point) {
		h.here = &Cursor{History: h.history, Point: h.point, Anchor: h.anchor}
		if h.latest != nil {
			h.here.Anchor = AnchorOf(h.latest)
		}
	}
	return h.here
}

func (p Point) equal(q Point) bool {
	return p.After == q.After && p.From.Equal(q.From) && p.To.Equal(q.To)
}

// Mark queues, for a subscriber that is live, the frame of a cursor alone, if the
// hub has moved on since the last time: who hears of no event must not stay where
// the log will be cut off.
func (h *Hub) Mark(s *Subscriber, frame func(Cursor) []byte) {
	h.mu.Lock()
	_, joined := h.subscribers[s]
	if here := h.hereLocked(); joined && s.behind == nil && s.marked != here {
		s.marked = here
		s.receiver.Queue(frame(*here), 0, nil)
	}
	h.mu.Unlock()
	s.receiver.Flush()
}
