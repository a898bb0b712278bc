package notifier

// index finds the subscriptions an event may be for by hash look-ups. Each
// filter is kept under the parts that name a single value; of a list, only the
// first part that has one is used, an entry per value, and the rest is verified
// on the event, so that a filter of long lists is never multiplied out.
type index struct {
	buckets map[topic]*bucket
	shapes  [1 << partCount]int // how many buckets there are of each shape
}

// shape is the set of parts a topic names.
type shape uint8

const (
	byType shape = 1 << iota
	byAction
	byKey
	byRecipient
	partCount = iota
)

// topic is a hash key: the values of the parts in its shape, "" for the others.
type topic struct {
	shape                        shape
	eventType, action, key, user string
}

// bucket holds the subscriptions under one topic.
type bucket struct{ entries []member }

// member is a subscription in a bucket, and which of its own entries says so.
type member struct {
	*Subscription
	entry int
}

// entry is where a subscription lies in a bucket.
type entry struct {
	topic topic
	at    int
}

func newIndex() index { return index{buckets: make(map[topic]*bucket)} }

// topics returns the keys a filter is kept under: at least one.
func (f *Filter) topics() []topic {
	var base topic
	lists := map[shape][]string{byType: f.Types, byAction: f.Actions, byKey: f.Keys}
	var spread shape
	for _, part := range []shape{byKey, byType, byAction} { // the most selective first
		switch values := lists[part]; {
		case len(values) == 1:
			base = base.with(part, values[0])
		case len(values) > 1 && spread == 0:
			spread = part
		}
	}
	if f.Recipient != nil && !f.OrNobody {
		base = base.with(byRecipient, *f.Recipient)
	}
	if spread == 0 {
		return []topic{base}
	}
	seen := make(map[string]bool, len(lists[spread]))
	var all []topic
	for _, value := range lists[spread] {
		if !seen[value] {
			seen[value] = true
			all = append(all, base.with(spread, value))
		}
	}
	return all
}

// plain reports whether the topics say all that the filter does, but for the
// time.
func (f *Filter) plain() bool {
	lists := 0
	for _, values := range [...][]string{f.Types, f.Actions, f.Keys} {
		if len(values) > 1 {
			lists++
		}
	}
	return lists <= 1 && !f.OrNobody
}

func (t topic) with(part shape, value string) topic {
	t.shape |= part
	switch part {
	case byType:
		t.eventType = value
	case byAction:
		t.action = value
	case byKey:
		t.key = value
	case byRecipient:
		t.user = value
	}
	return t
}

// add keeps a subscription under the topics of its filter.
func (x *index) add(s *Subscription, topics []topic) {
	s.entries = make([]entry, 0, len(topics))
	for _, t := range topics {
		b := x.buckets[t]
		if b == nil {
			b = &bucket{}
			x.buckets[t] = b
			x.shapes[t.shape]++
		}
		b.entries = append(b.entries, member{s, len(s.entries)})
		s.entries = append(s.entries, entry{t, len(b.entries) - 1})
	}
}

// remove takes the last of each bucket to the place that falls free, so its
// cost depends neither on how many subscriptions there are nor on how much
// they list.
func (x *index) remove(s *Subscription) {
	for _, gone := range s.entries {
		b := x.buckets[gone.topic]
		end := len(b.entries) - 1
		moved := b.entries[end]
		b.entries[gone.at] = moved
		moved.entries[moved.entry].at = gone.at
		b.entries[end] = member{}
		b.entries = b.entries[:end]
		if end == 0 {
			delete(x.buckets, gone.topic)
			x.shapes[gone.topic.shape]--
		}
	}
	s.entries = nil
}

// match calls yield for every subscription whose filter wants the event, once
// for each.
func (x *index) match(e *Event, yield func(*Subscription)) {
	for i, count := range x.shapes {
		if count == 0 {
			continue
		}
		t, ok := topicOf(e, shape(i))
		if !ok {
			continue
		}
		b := x.buckets[t]
		if b == nil {
			continue
		}
		for _, s := range b.entries {
			if s.plain && s.filter.timely(e) || !s.plain && s.filter.Matches(e) {
				yield(s.Subscription)
			}
		}
	}
}

// topicOf returns the event's topic of that shape; it has none if the shape
// names a recipient and the event is addressed to nobody.
func topicOf(e *Event, parts shape) (topic, bool) {
	t := topic{shape: parts}
	if parts&byType != 0 {
		t.eventType = e.Type
	}
	if parts&byAction != 0 {
		t.action = e.Action
	}
	if parts&byKey != 0 {
		t.key = e.Key
	}
	if parts&byRecipient != 0 {
		if e.Recipient == nil {
			return t, false
		}
		t.user = *e.Recipient
	}
	return t, true
}
