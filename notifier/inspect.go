package notifier

import "time"

// Presence is what the hub knows of a subscriber, for operators.
type Presence struct {
	User string // "" if it has not said so yet
	Held int    // subscriptions
	// Behind says that it reads from the log at its own pace, and since how long.
	Behind bool
	Lag    time.Duration
}

// Describe returns what is known of subscribers, in their order; of nil, nothing.
func (h *Hub) Describe(subscribers []*Subscriber) []Presence {
	all := make([]Presence, len(subscribers))
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range subscribers {
		if s == nil {
			continue
		}
		all[i] = s.presence(now)
	}
	return all
}

// presence is to be called under the hub's lock.
func (s *Subscriber) presence(now time.Time) Presence {
	p := Presence{User: s.user, Held: len(s.subscriptions), Behind: s.behind != nil}
	if p.User == "" && len(s.subscriptions) > 0 {
		p.User = s.subscriptions[0].viewer.User
	}
	if p.Behind {
		p.Lag = max(0, now.Sub(time.Unix(0, s.fellAt)))
	}
	return p
}

// SubscribersOf returns those that act for a user.
func (h *Hub) SubscribersOf(user string) map[*Subscriber]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.users[user]
	if r == nil {
		return nil
	}
	found := make(map[*Subscriber]bool, len(r.subscribers))
	for s := range r.subscribers {
		found[s] = true
	}
	return found
}
