package notifier

import (
	"context"
	"time"
)

// maxRefresh bounds the verdicts that are asked anew at once when a change has
// made them doubtful. Those of a change that concerns more wait for an event
// that needs them.
const maxRefresh = 1000

// supersededLocked returns the questions that have been answered and are open
// again; none if there are too many.
func (h *Hub) supersededLocked() []Question {
	var open []Question
	now := time.Now()
	for _, r := range h.superseded {
		for s, v := range r.before {
			if !now.Before(v.until) {
				continue // nobody has asked for long
			}
			if len(open) == maxRefresh {
				return nil
			}
			open = append(open, Question{User: r.user, Type: s.eventType, Dataset: s.dataset, HasDataset: s.hasDataset})
		}
	}
	return open
}

// ask has the policy answer for live events of the batch that ends at a position
// and keeps the answers.
func (h *Hub) ask(ctx context.Context, questions []Question, to Position) (allowed []bool, err error) {
	allowed, at, err := h.access.Policy.Ask(ctx, questions)
	if err != nil {
		return nil, err
	}
	// Also where nothing had ended between the batch and the position of the
	// answers: a VOLATILE function sees more than that.
	var later []*Event
	if h.access.Changes != nil {
		if later, err = h.access.Changes(ctx, to); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answeredLocked(questions)
	if !at.Includes(h.floor) {
		return nil, errStalePolicy
	}
	h.lookAtLocked(later)
	until := time.Now().Add(h.access.MaxAge)
	for i, q := range questions {
		if r := h.users[q.User]; r != nil {
			v := verdict{allowed: allowed[i], until: until, at: at}
			for c := range h.ahead.concerning(q) {
				v.early = true
				v.murky = v.murky || !at.Ended(c.txid)
			}
			h.learnLocked(r, q, v)
		}
	}
	return allowed, nil
}

// lookAtLocked takes note of changes that the policy may know of already.
func (h *Hub) lookAtLocked(later []*Event) {
	list := changesOf(later)
	for i := range list {
		list[i].ahead = true
	}
	h.ahead = newChanges(list)
}

func (h *Hub) learnLocked(r *reader, q Question, v verdict) {
	if old, ok := r.verdicts[q.scope()]; ok && !h.changes.concern(q) {
		h.supersedeLocked(r, q.scope(), old)
	}
	r.verdicts.learn(q.scope(), v)
	h.learned++
}

// recheck asks again for what a change has made doubtful: for verdicts, because
// the next change must find known what was before it, and for the permits of
// subscriptions. Those that have lost theirs end, before any event of the batch
// is delivered.
func (h *Hub) recheck(ctx context.Context, doubtful []*Subscription, to Position) error {
	h.mu.Lock()
	questions := h.supersededLocked()
	h.mu.Unlock()
	for _, sub := range doubtful {
		questions = append(questions, *sub.permit.Scope)
	}
	if len(questions) == 0 {
		return nil
	}
	allowed, err := h.ask(ctx, questions, to)
	if err != nil {
		return err
	}
	allowed = allowed[len(allowed)-len(doubtful):]
	var lost []*Subscription
	h.mu.Lock()
	for i, sub := range doubtful {
		if !allowed[i] && h.unsubscribeLocked(sub) {
			lost = append(lost, sub)
		}
	}
	h.mu.Unlock()
	revoke(lost, LostAccess)
	return nil
}
