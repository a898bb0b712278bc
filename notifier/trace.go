package notifier

import "time"

// Trace is what the log and the policy tell of one event and one user.
type Trace struct {
	User string `json:"user"`
	ID   int64  `json:"event"`
	Fate Fate   `json:"fate"`
	// Writers are the transactions that have written to the log and are open, if
	// the event can't be seen: it may be one's of theirs.
	Writers []string      `json:"writers,omitempty"`
	Row     *TracedRow    `json:"row"`
	Policy  *TracedPolicy `json:"policy"`
	// Changes are the changes of access that lie close to the event and concern
	// who may read it, in the order in which they were made.
	Changes []TracedChange `json:"changes"`
}

// Fate is what has become of an event.
type Fate string

// The fates.
const (
	FateStored  Fate = "stored"
	FateRemoved Fate = "removed" // by retention, or never committed
	FateOpen    Fate = "open"    // perhaps in a transaction that has not ended
	FateAbsent  Fate = "absent"  // never committed
)

// TracedRow is an event as it is stored, without its payload.
type TracedRow struct {
	TxID          uint64    `json:"txid"`
	CreatedAt     time.Time `json:"created_at"`
	Type          string    `json:"type"`
	Action        string    `json:"action"`
	Key           string    `json:"key"`
	Recipient     *string   `json:"recipient"`
	DatasetID     *string   `json:"dataset_id"`
	Principal     string    `json:"principal"`
	Control       Control   `json:"control,omitempty"`
	Unordered     bool      `json:"unordered,omitempty"`
	PayloadBytes  int       `json:"payload_bytes"`
	OriginalBytes int       `json:"original_bytes"`
	// TooLarge: the payload, or the original, goes out as null.
	TooLarge bool `json:"too_large"`
	// CommittedAt is known only if the database keeps it (track_commit_timestamp).
	CommittedAt *time.Time `json:"committed_at"`
	// After and Before are when positions were recorded between which it was
	// committed, a minute apart; null: none was yet, or not any more.
	After  *time.Time `json:"committed_after"`
	Before *time.Time `json:"committed_before"`
}

// Event returns the event as it is delivered, without its payload.
func (r *TracedRow) Event(id int64) *Event {
	return &Event{
		ID: id, TxID: r.TxID, CreatedAt: r.CreatedAt, Type: r.Type, Action: r.Action, Key: r.Key,
		Recipient: r.Recipient, DatasetID: r.DatasetID, Control: r.Control,
	}
}

// TracedPolicy is what the policy says today.
type TracedPolicy struct {
	Exists   bool `json:"user_exists"`
	Disabled bool `json:"disabled"` // in notifier.users
	MayRead  bool `json:"may_read"`
	// Error is why it does not answer.
	Error string `json:"error,omitempty"`
	// Decided is the function that has said no, or else yes, and Source its SQL.
	Decided string `json:"decided"`
	Source  string `json:"source"`
}

// TracedChange is a change of access.
type TracedChange struct {
	ID        int64     `json:"id"`
	Control   Control   `json:"control"`
	User      *string   `json:"user"`       // null: any
	DatasetID *string   `json:"dataset_id"` // null: any
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	// EventFirst says whether the event was committed before the change; null:
	// nobody knows.
	EventFirst *bool `json:"event_first"`
}

// FellBetween returns, of changes in their order, those between which the event was
// committed, while the user had no access; nil: there are none.
func FellBetween(changes []TracedChange) (taken, given *TracedChange) {
	for i := range changes {
		c := &changes[i]
		switch {
		case c.EventFirst == nil:
		case c.Control != ControlAccessGranted && !*c.EventFirst:
			taken = c
		case c.Control == ControlAccessGranted && !*c.EventFirst:
			taken = nil // it was given back before the event
		case c.Control == ControlAccessGranted && taken != nil:
			return taken, c
		}
	}
	return nil, nil
}

// Mismatch names the part of the filter that does not want the event; "": it does.
func (f *Filter) Mismatch(e *Event) string {
	switch {
	case !listed(f.Types, e.Type):
		return "type"
	case !listed(f.Actions, e.Action):
		return "action"
	case !listed(f.Keys, e.Key):
		return "key"
	case !f.addressed(e):
		return "recipient"
	case !f.timely(e):
		return "created_at"
	}
	return ""
}

// Reception is how an event meets a subscriber.
type Reception struct {
	Subscriber *Subscriber
	Presence
	// Passed says that the event lies before where the subscriber is.
	Passed        bool
	Subscriptions []Match // some of them
}

// Match is how an event meets a subscription.
type Match struct {
	Filter Filter
	Admin  bool // it sees everything
	// Mismatch names the part of the filter that does not want it; "": it does.
	Mismatch string
	// Late says that the subscription began behind the event: only a replay brings
	// it.
	Late bool
}

// maxMatches bounds the subscriptions of one subscriber that are told of; those
// that want the event come first.
const maxMatches = 100

// Receptions returns how an event meets the subscribers that act for a user, and
// whether it lies before where the hub is.
func (h *Hub) Receptions(user string, e *Event) (all []Reception, passed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.users[user]; r != nil {
		for s := range r.subscribers {
			all = append(all, h.receptionLocked(s, user, e))
		}
	}
	return all, h.point.Covers(e)
}

func (h *Hub) receptionLocked(s *Subscriber, user string, e *Event) Reception {
	r := Reception{Subscriber: s, Presence: s.presence(time.Now())}
	at := h.point
	if s.behind != nil {
		at = s.behind.Point
	}
	r.Passed = at.Covers(e)
	var others []Match
	for _, sub := range s.subscriptions {
		if sub.viewer.User != user {
			continue
		}
		m := Match{Filter: sub.filter, Admin: sub.viewer.Admin, Mismatch: sub.filter.Mismatch(e), Late: sub.start.Point.Covers(e)}
		switch {
		case m.Mismatch == "" && len(r.Subscriptions) < maxMatches:
			r.Subscriptions = append(r.Subscriptions, m)
		case m.Mismatch != "" && len(others) < maxMatches:
			others = append(others, m)
		}
	}
	r.Subscriptions = append(r.Subscriptions, others[:min(len(others), maxMatches-len(r.Subscriptions))]...)
	return r
}
