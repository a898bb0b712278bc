package notifier

import (
	"context"
	"maps"
	"slices"
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
	// Account, if not nil, is what the client logged in to. The subscription
	// ends, an admin's too, when the account is at another generation, disabled
	// or gone.
	Account *Account
	At      Position
}

// AccessConfig says how a hub decides who sees what.
type AccessConfig struct {
	Policy Policy        // nil: everybody may read everything
	MaxAge time.Duration // how long a verdict is used; 0: 60 s
	// MaxVerdicts bounds the verdicts kept of all users together, of about 250
	// bytes each, between two pages; 0: 1,048,576.
	MaxVerdicts int
	// Changes returns the control events that were committed after a position.
	// The policy answers as of now, which may be after the batch that is being
	// published: what it owes to a change that is not read yet must not be
	// taken for the state before. nil: the policy answers as of the batch.
	Changes func(ctx context.Context, since Position) ([]*Event, error)
	// Accounts returns the generations of those accounts that are there and not
	// disabled, by user, as of one position; nil: no subscription may rest on
	// one.
	Accounts func(ctx context.Context, users []string) (generations map[string]int64, at Position, err error)
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

const defaultMaxVerdicts = 1 << 20

// reader is a user with subscribers here, and what is known of its access.
type reader struct {
	user        string
	subscribers map[*Subscriber]int // how often each acts for the user
	verdicts    verdicts
	// replayed are those that replays have asked for, as of any time: they do
	// not count for live events, nor the others for replays.
	replayed verdicts
	// before holds the verdicts that were superseded in the batch being
	// published: they tell what could be read when it began.
	before verdicts
}

type verdicts map[scope]verdict

// scope is the part of a question that is not the user.
type scope struct {
	eventType, dataset string
	hasDataset         bool
}

type verdict struct {
	allowed bool
	until   time.Time
	// early: the policy knew of changes that are not published yet.
	early bool
	// murky: of some of them it is not certain whether it knew.
	murky bool
	at    Position // as of when
}

func (q Question) scope() scope { return scope{q.Type, q.Dataset, q.HasDataset} }

// forgetLocked drops the verdicts that a change may have made wrong.
func (h *Hub) forgetLocked(r *reader, c *change) {
	about := func(s scope) bool { return c.dataset == nil || s.hasDataset && s.dataset == *c.dataset }
	for s, v := range r.verdicts {
		if about(s) {
			h.supersedeLocked(r, s, v)
			delete(r.verdicts, s)
		}
	}
	maps.DeleteFunc(r.replayed, func(s scope, _ verdict) bool { return about(s) })
}

// supersedeLocked keeps a verdict that is to be replaced as what was so before:
// also an old one, because no change has been heard of since. One that knew of
// changes which are not read yet is better than none.
func (h *Hub) supersedeLocked(r *reader, s scope, v verdict) {
	if _, better := r.before[s]; v.murky || v.early && better {
		return
	}
	if r.before == nil {
		r.before = make(verdicts)
		h.superseded = append(h.superseded, r)
	}
	r.before[s] = v
}

// learn keeps a verdict.
func (v *verdicts) learn(s scope, one verdict) {
	if len(*v) >= maxVerdicts {
		*v = nil
	}
	if *v == nil {
		*v = make(verdicts)
	}
	(*v)[s] = one
}

// sweepLocked forgets verdicts if too many were learned since it last did: those
// that are too old by now, or if that does not help, all. It must not be called
// between a question and the use of its answer.
func (h *Hub) sweepLocked() {
	if h.learned <= h.access.MaxVerdicts {
		return
	}
	now := time.Now()
	stale := func(_ scope, v verdict) bool { return !now.Before(v.until) }
	h.learned = 0
	for _, r := range h.users {
		maps.DeleteFunc(r.verdicts, stale)
		maps.DeleteFunc(r.replayed, stale)
		h.learned += len(r.verdicts) + len(r.replayed)
	}
	if h.learned <= h.access.MaxVerdicts/2 {
		return
	}
	h.learned = 0
	for _, r := range h.users {
		r.verdicts, r.replayed = nil, nil
	}
}

// pastLocked returns what was known of the access to an event before the batch's
// changes, or, if the policy knew of some of them, before those that had not
// ended at a position. The latter says nothing of an event that does not come
// after all that the policy knew of.
func (h *Hub) pastLocked(r *reader, q Question, e *Event) (before judgement, at Position) {
	v, ok := r.before[q.scope()]
	if !ok {
		return unknown, Position{}
	}
	if v.early {
		for _, all := range []*changes{&h.changes, &h.ahead} {
			for c := range all.concerning(q) {
				if v.at.Ended(c.txid) && (c.comesAfter(e) || c.blind || e.Unordered) {
					return unknown, Position{}
				}
			}
		}
		at = v.at
	}
	if v.allowed {
		return granted, at
	}
	return denied, at
}

// judgement is what is known of a subscriber's right to an event.
type judgement int

const (
	denied judgement = iota
	granted
	unknown
)

// judgeLocked decides whether the subscription's viewer may see a live event,
// with the question that is open if that is unknown.
func (h *Hub) judgeLocked(sub *Subscription, e *Event, now time.Time) (judgement, Question) {
	if sure, open := h.beyondPolicy(sub, e); !open {
		return sure, Question{}
	}
	q := questionOf(sub.viewer.User, e)
	var said tally
	before, at := h.pastLocked(sub.reader, q, e)
	if len(h.changes.list) > 0 {
		said.add(&h.changes, q, e, at, Position{})
		if said.withhold(before) {
			return denied, Question{}
		}
	}
	h.stats.Checks++
	v, ok := sub.reader.verdicts[q.scope()]
	if !ok || !now.Before(v.until) {
		return unknown, q
	}
	h.stats.Known++
	switch {
	case !v.allowed:
		return denied, Question{}
	case v.early:
		said.add(&h.ahead, q, e, Position{}, v.at)
		if said.withhold(before) {
			return denied, Question{}
		}
	}
	return granted, Question{}
}

// beyondPolicy decides what needs no policy; open means that it does.
func (h *Hub) beyondPolicy(sub *Subscription, e *Event) (j judgement, open bool) {
	switch {
	case h.access.Policy == nil, sub.viewer.Admin:
		return granted, false
	case e.Recipient != nil && *e.Recipient != sub.viewer.User:
		return denied, false
	}
	return unknown, true
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
	var doubtful []*Subscription
	type whom struct {
		user, dataset string
		any, all      bool
	}
	done := make(map[whom]bool)
	for i := range all.list {
		c := &all.list[i]
		about := whom{deref(c.user), deref(c.dataset), c.user == nil, c.dataset == nil}
		switch {
		case done[about]: // by another transaction, or taken and given
		case c.user == nil:
			for _, r := range h.users {
				doubtful = h.reconsiderLocked(r, c, doubtful)
			}
		default:
			if r := h.users[*c.user]; r != nil {
				doubtful = h.reconsiderLocked(r, c, doubtful)
			}
		}
		done[about] = true
	}
	return doubtful
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// forgetChangesLocked is for the end of a batch.
func (h *Hub) forgetChangesLocked() {
	h.changes = changes{}
	for _, r := range h.superseded {
		r.before = nil
	}
	h.superseded = nil
}

// catchUpLocked drops the changes that were ahead of the last batch and are not
// of this one.
func (h *Hub) catchUpLocked(to Position) {
	if len(h.ahead.list) > 0 {
		h.ahead = newChanges(slices.DeleteFunc(h.ahead.list, func(c change) bool { return to.Ended(c.txid) }))
	}
}

func (h *Hub) reconsiderLocked(r *reader, c *change, doubtful []*Subscription) []*Subscription {
	h.forgetLocked(r, c)
	for s := range r.subscribers {
		for _, sub := range s.subscriptions {
			if sub.reader == r && sub.permit.Scope != nil && !sub.viewer.Admin && c.concerns(*sub.permit.Scope) {
				doubtful = append(doubtful, sub)
			}
		}
	}
	return doubtful
}
