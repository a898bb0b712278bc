package notifier

import (
	"context"
	"errors"
	"time"
)

// Policy knows who may read what. The database answers, by functions that the
// application owns.
type Policy interface {
	// Ask answers all questions, in their order, as of one position. It is
	// called without any lock held.
	Ask(ctx context.Context, questions []Question) (allowed []bool, at Position, err error)
}

// Viewer is on whose behalf a subscription sees events.
type Viewer struct {
	User  string
	Admin bool // sees everything
}

// Permit is what entitled a subscription: a verdict and the position it was
// computed at.
type Permit struct {
	// Scope, if not nil, is asked again when access changes; the subscription
	// ends if the answer has become no.
	Scope *Question
	At    Position
}

// AccessConfig says how a hub decides who sees what.
type AccessConfig struct {
	Policy Policy        // nil: everybody may read everything
	MaxAge time.Duration // how long a verdict is used; 0: 60 s
	// Report is told how each attempt to have the policy answer went; nil:
	// nobody. While it fails, nothing is delivered.
	Report func(error)
}

func (c *AccessConfig) report(err error) {
	if c.Report != nil {
		c.Report(err)
	}
}

const defaultVerdictAge = 60 * time.Second

// maxVerdicts bounds the verdicts kept of one user; an application with more
// datasets per user than that asks more often.
const maxVerdicts = 4096

// reader is a user with subscribers here, and what is known of its access.
type reader struct {
	subscribers map[*Subscriber]int // how often each acts for the user
	verdicts    map[scope]verdict
	// before holds the verdicts that the batch being published has made
	// doubtful: they tell what could be read when it began.
	before map[scope]verdict
}

// scope is the part of a question that is not the user.
type scope struct {
	eventType, dataset string
	hasDataset         bool
}

type verdict struct {
	allowed bool
	until   time.Time
}

func (q Question) scope() scope { return scope{q.Type, q.Dataset, q.HasDataset} }

// forget drops the verdicts that a change may have made wrong.
func (r *reader) forget(c *change, now time.Time) {
	for s, v := range r.verdicts {
		if c.dataset != nil && (!s.hasDataset || s.dataset != *c.dataset) {
			continue
		}
		if now.Before(v.until) {
			if r.before == nil {
				r.before = make(map[scope]verdict)
			}
			r.before[s] = v
		}
		delete(r.verdicts, s)
	}
}

func (r *reader) learn(s scope, v verdict) {
	if len(r.verdicts) >= maxVerdicts {
		r.verdicts = nil
	}
	if r.verdicts == nil {
		r.verdicts = make(map[scope]verdict)
	}
	r.verdicts[s] = v
}

// past returns what was known of a scope when the batch began.
func (r *reader) past(s scope) judgement {
	v, ok := r.before[s]
	switch {
	case !ok:
		return unknown
	case v.allowed:
		return granted
	}
	return denied
}

// judgement is what is known of a subscriber's right to an event.
type judgement int

const (
	denied judgement = iota
	granted
	unknown
)

// judgeLocked decides whether the subscription's viewer may see the event, with
// the question that is open if that is unknown.
func (h *Hub) judgeLocked(sub *Subscription, e *Event, now time.Time) (judgement, Question) {
	if h.access.Policy == nil || sub.viewer.Admin {
		return granted, Question{}
	}
	if e.Recipient != nil && *e.Recipient != sub.viewer.User {
		return denied, Question{}
	}
	q := questionOf(sub.viewer.User, e)
	if len(h.changes.list) > 0 && h.changes.withhold(q, e, sub.reader.past(q.scope())) {
		return denied, Question{}
	}
	v, ok := sub.reader.verdicts[q.scope()]
	switch {
	case !ok || !now.Before(v.until):
		return unknown, q
	case v.allowed:
		return granted, Question{}
	}
	return denied, Question{}
}

// applyLocked forgets what a batch's changes of access have made doubtful and
// returns the subscriptions whose own permit must be asked for again. From now
// on only verdicts count that know of the changes.
func (h *Hub) applyLocked(all changes, to Position) []*Subscription {
	h.changes = all
	if len(all.list) == 0 {
		return nil
	}
	h.floor = to
	now := time.Now()
	var doubtful []*Subscription
	for i := range all.list {
		c := &all.list[i]
		if c.user == nil {
			for _, r := range h.users {
				doubtful = r.reconsider(c, now, doubtful)
			}
		} else if r := h.users[*c.user]; r != nil {
			doubtful = r.reconsider(c, now, doubtful)
		}
	}
	return doubtful
}

// forgetChangesLocked is for the end of a batch.
func (h *Hub) forgetChangesLocked() {
	if len(h.changes.list) == 0 {
		return
	}
	h.changes = changes{}
	for _, r := range h.users {
		r.before = nil
	}
}

func (r *reader) reconsider(c *change, now time.Time, doubtful []*Subscription) []*Subscription {
	r.forget(c, now)
	for s := range r.subscribers {
		for sub := range s.subscriptions {
			if sub.reader == r && sub.permit.Scope != nil && !sub.viewer.Admin && c.concerns(*sub.permit.Scope) {
				doubtful = append(doubtful, sub)
			}
		}
	}
	return doubtful
}

// ask has the policy answer and keeps the answers, unless access has changed
// again since the policy looked.
func (h *Hub) ask(ctx context.Context, questions []Question) error {
	allowed, at, err := h.access.Policy.Ask(ctx, questions)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !at.Includes(h.floor) {
		return errStalePolicy
	}
	until := time.Now().Add(h.access.MaxAge)
	for i, q := range questions {
		if r := h.users[q.User]; r != nil {
			r.learn(q.scope(), verdict{allowed[i], until})
		}
	}
	return nil
}

// recheck asks again for the permits of subscriptions and ends those that have
// lost theirs, before any event of the batch is delivered.
func (h *Hub) recheck(ctx context.Context, doubtful []*Subscription) error {
	if len(doubtful) == 0 {
		return nil
	}
	questions := make([]Question, len(doubtful))
	for i, sub := range doubtful {
		questions[i] = *sub.permit.Scope
	}
	allowed, at, err := h.access.Policy.Ask(ctx, questions)
	if err != nil {
		return err
	}
	if !at.Includes(h.floor) { // only this goroutine moves the floor
		return errStalePolicy
	}
	var lost []*Subscription
	h.mu.Lock()
	for i, sub := range doubtful {
		if !allowed[i] && h.unsubscribeLocked(sub) {
			lost = append(lost, sub)
		}
	}
	h.mu.Unlock()
	for _, sub := range lost {
		sub.subscriber.receiver.Revoke(sub)
	}
	return nil
}

// Readable returns those of the stored events that the subscription's viewer may
// read, by today's policy.
func (h *Hub) Readable(ctx context.Context, sub *Subscription, events []*Event) ([]*Event, error) {
	for pause := firstPolicyRetry; ; pause *= 2 {
		readable, open, err := h.sift(sub, events)
		if err != nil || len(open) == 0 {
			return readable, err
		}
		err = h.ask(ctx, open)
		if err != nil && (!errors.Is(err, errStalePolicy) || pause > lastPolicyRetry) {
			return nil, err
		}
	}
}

// sift returns the events the viewer may read, or the questions that are open.
func (h *Hub) sift(sub *Subscription, events []*Event) (readable []*Event, open []Question, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := sub.subscriber.subscriptions[sub]; !ok {
		return nil, nil, ErrGone
	}
	now := time.Now()
	asked := make(map[Question]bool)
	for _, e := range events {
		switch j, q := h.judgeLocked(sub, e, now); {
		case j == granted:
			readable = append(readable, e)
		case j == unknown && !asked[q]:
			asked[q] = true
			open = append(open, q)
		}
	}
	return readable, open, nil
}
