package notifier

import (
	"context"
	"errors"
	"time"
)

// Readable returns those of the stored events that the subscription's viewer may
// read, by today's policy.
func (h *Hub) Readable(ctx context.Context, sub *Subscription, events []*Event) ([]*Event, error) {
	for pause := firstPolicyRetry; ; pause *= 2 {
		readable, open, err := h.sift(sub, events)
		if err != nil || len(open) == 0 {
			return readable, err
		}
		err = h.askForReplay(ctx, sub.permit.At, open)
		if err != nil && (!errors.Is(err, errStalePolicy) || pause > lastPolicyRetry) {
			return nil, err
		}
	}
}

// askForReplay has the policy answer, as of no earlier than a position, and keeps
// the answers, unless access has changed again since the policy looked.
func (h *Hub) askForReplay(ctx context.Context, least Position, questions []Question) error {
	allowed, at, err := h.access.Policy.Ask(ctx, questions)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answeredLocked(questions)
	if !at.Includes(h.floor) || !at.Includes(least) {
		return errStalePolicy
	}
	h.sweepLocked()
	until := time.Now().Add(h.access.MaxAge)
	for i, q := range questions {
		if r := h.users[q.User]; r != nil {
			r.replayed.learn(q.scope(), verdict{allowed: allowed[i], until: until, at: at})
			h.learned++
		}
	}
	return nil
}

// sift returns the events the viewer may read, or the questions that are open.
func (h *Hub) sift(sub *Subscription, events []*Event) (readable []*Event, open []Question, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub.place == 0 {
		return nil, nil, ErrGone
	}
	now := time.Now()
	asked := make(map[Question]bool)
	for _, e := range events {
		switch j, q := h.judgeStoredLocked(sub, e, now); {
		case j == granted:
			readable = append(readable, e)
		case j == unknown && !asked[q]:
			asked[q] = true
			open = append(open, q)
		}
	}
	return readable, open, nil
}

// judgeStoredLocked decides the same of an event in a replay: by what may be
// read today, whatever it was when the event was committed. Today is not before
// the subscription began, wherever the hub is: who was just granted something,
// and comes for it, must find it.
func (h *Hub) judgeStoredLocked(sub *Subscription, e *Event, now time.Time) (judgement, Question) {
	if sure, open := h.beyondPolicy(sub, e); !open {
		return sure, Question{}
	}
	q := questionOf(sub.viewer.User, e)
	h.stats.Checks++
	v, ok := sub.reader.replayed[q.scope()]
	if !ok || !now.Before(v.until) || !v.at.Includes(sub.permit.At) {
		return unknown, q
	}
	h.stats.Known++
	if v.allowed {
		return granted, Question{}
	}
	return denied, Question{}
}
