package notifier

import (
	"context"
	"errors"
	"time"
)

// Between two attempts to have the policy answer.
const (
	firstPolicyRetry = 10 * time.Millisecond
	lastPolicyRetry  = 2 * time.Second
)

var errStalePolicy = errors.New("the policy answered as of a position that is too old")

// Publish delivers a page. Pages come in order: those of a batch, then the next
// batch, whose From is this one's To. It never waits for a client, but it waits
// for the policy, for as long as that takes, because an event must neither reach
// the wrong user nor get lost. It returns an error only if the context ends.
func (h *Hub) Publish(ctx context.Context, p Page) error {
	h.place(p)
	if err := h.obeyChanges(ctx, p); err != nil {
		return err
	}
	for next := 0; ; {
		var open []Question
		next, open = h.deliver(p, next)
		h.sendOff()
		if len(open) == 0 {
			return nil
		}
		err := h.insist(ctx, func() error { _, err := h.ask(ctx, open, p.To); return err })
		if err != nil {
			return err
		}
	}
}

// place tells a page's events where in the log they are.
func (h *Hub) place(p Page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	span := &Span{History: h.history, life: h.life, From: p.From, To: p.To, before: h.anchor}
	if h.latest != nil {
		span.before = AnchorOf(h.latest)
	}
	span.place(p.Events, nil)
	h.recent.open(p.From, p.To)
}

// obeyChanges has all that a batch's changes of access may have ended checked
// before any of its events is delivered.
func (h *Hub) obeyChanges(ctx context.Context, p Page) error {
	if h.access.Policy == nil {
		return nil
	}
	h.mu.Lock()
	h.sweepLocked()
	var doubtful []*Subscription
	all := changesOf(p.Controls)
	if len(p.Controls) > 0 {
		h.catchUpLocked(p.To)
		doubtful = h.applyLocked(newChanges(all), p.To)
	}
	shaken := h.shakenLocked(all)
	h.restarted = false
	h.mu.Unlock()
	if len(p.Controls) > 0 {
		if err := h.insist(ctx, func() error { return h.recheck(ctx, doubtful, p.To) }); err != nil {
			return err
		}
	}
	if len(shaken) == 0 {
		return nil
	}
	return h.insist(ctx, func() error { return h.recheckAccounts(ctx, shaken) })
}

// insist repeats what needs the policy until it succeeds.
func (h *Hub) insist(ctx context.Context, try func() error) error {
	for pause := firstPolicyRetry; ; pause = min(2*pause, lastPolicyRetry) {
		err := try()
		h.access.report(err)
		h.failed(err)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// sendOff flushes and ends what deliver has left to be done without the lock.
func (h *Hub) sendOff() {
	flush(h.touched)
	for _, s := range h.dropped {
		s.receiver.End(EndedByDrop)
	}
	for _, s := range h.fallen {
		s.receiver.Behind()
	}
	clear(h.fallen)
	h.fallen = h.fallen[:0]
	clear(h.touched) // the lists are used again; they must not keep clients alive
	clear(h.dropped)
	h.touched, h.dropped = h.touched[:0], h.dropped[:0]
}

// deliver queues the page's events from an index on, up to the first that the
// policy must be asked about. It returns that event's index and all questions
// that the rest of the page leaves open. A subscription is either before or
// after each event: the hub's point says which.
func (h *Hub) deliver(p Page, next int) (int, []Question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.point.From, h.point.To = p.From, p.To
	var open []Question
	for ; next < len(p.Events); next++ {
		e := p.Events[next]
		if e.Control != "" {
			h.obeyLocked(e)
		} else if open = h.matchLocked(e, now); len(open) > 0 {
			break
		}
		h.passLocked(e, p.From)
	}
	for _, s := range h.touched {
		h.emitLocked(s)
		s.touched, s.seen = false, nil
	}
	if len(open) > 0 {
		return next, h.lookAheadLocked(p.Events[next+1:], open, now)
	}
	if p.Last {
		h.point = Point{From: p.To, To: p.To}
		h.forgetChangesLocked()
	}
	return next, nil
}

// passLocked moves on behind an event of a batch that begins there.
func (h *Hub) passLocked(e *Event, from Position) {
	h.point.After = e.ID
	if e.anchor != nil {
		h.latest = e.anchor
	}
	if e.Control == "" && !h.recent.add(e) {
		h.tooFar = new(from)
	}
}

// lookAheadLocked adds the questions of further events, so that the policy is
// asked once per page and not once per event.
func (h *Hub) lookAheadLocked(events []*Event, open []Question, now time.Time) []Question {
	known := make(map[Question]bool, len(open))
	add := func(q Question) bool {
		fresh := !known[q]
		known[q] = true
		return fresh
	}
	questions := open[:0]
	for _, q := range open {
		if add(q) {
			questions = append(questions, q)
		}
	}
	for _, e := range events {
		if e.Control != "" {
			continue
		}
		h.index.match(e, func(sub *Subscription) {
			if sub.subscriber.behind != nil {
				return
			}
			if j, q := h.judgeLocked(sub, e, now); j == unknown && add(q) {
				questions = append(questions, q)
			}
		})
	}
	return questions
}

func (h *Hub) obeyLocked(e *Event) {
	if e.Control != ControlDropUser || e.Recipient == nil || h.users[*e.Recipient] == nil {
		return // about access, or written by a newer version: it knows what to do
	}
	for s := range h.users[*e.Recipient].subscribers {
		h.emitLocked(s)
		h.leaveLocked(s)
		h.dropped = append(h.dropped, s)
	}
}

// matchLocked queues an event at every subscriber that wants and may see it; or
// at none, if that can't be told of some without asking.
func (h *Hub) matchLocked(e *Event, now time.Time) (open []Question) {
	h.candidates = h.candidates[:0]
	h.index.match(e, func(sub *Subscription) {
		if sub.subscriber.behind != nil {
			return // it will read it by itself
		}
		switch j, q := h.judgeLocked(sub, e, now); j {
		case granted:
			h.candidates = append(h.candidates, sub)
		case unknown:
			open = append(open, q)
		case denied:
		}
	})
	if len(open) > 0 {
		return open
	}
	var single *run // shared by all who get the event by itself
	queued := 0
	for _, sub := range h.candidates {
		s := sub.subscriber
		if s.seen == e {
			continue
		}
		s.seen = e
		if !s.touched {
			s.touched = true
			h.touched = append(h.touched, s)
		}
		if s.pending != nil && s.pending.event.TxID == e.TxID {
			s.pending = s.pending.extend(e)
			queued++
			continue
		}
		h.emitLocked(s)
		if s.behind != nil {
			continue // since now
		}
		queued++
		if single == nil {
			single = newRun(e)
		}
		s.pending = single
		if !s.encoder.Joins() {
			h.emitLocked(s)
		}
	}
	h.stats.Deliveries += int64(queued)
	return nil
}

// emitLocked queues the frame that was still open for more events.
func (h *Hub) emitLocked(s *Subscriber) {
	if s.pending == nil {
		return
	}
	if frame := s.pending.frame(s.encoder); frame != nil {
		if lost := s.receiver.Queue(frame, s.pending.length, s.pending.first); lost != nil {
			h.fallLocked(s, lost)
		}
	}
	s.pending = nil
}
