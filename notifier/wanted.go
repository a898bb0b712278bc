package notifier

import "time"

// wanted finds which of some subscriptions of one subscriber want an event.
type wanted struct {
	subs []*Subscription
	// index has a double of each, if they are many.
	index *index
	whose map[*Subscription]*Subscription
	// late: what came before a subscription is not its.
	late bool
	// tries are how often it was decided about an event by a subscription.
	tries int
}

// fewSubscriptions are tried one by one.
const fewSubscriptions = 8

func wantedBy(subs []*Subscription) wanted {
	w := wanted{subs: subs}
	if len(subs) <= fewSubscriptions {
		return w
	}
	x := newIndex()
	w.index, w.whose = &x, make(map[*Subscription]*Subscription, len(subs))
	for _, sub := range subs {
		double := &Subscription{filter: sub.filter, plain: sub.plain}
		w.whose[double] = sub
		x.add(double, double.filter.topics())
	}
	return w
}

// gone reports whether all of them have ended.
func (w *wanted) gone() bool {
	for _, sub := range w.subs {
		if sub.place != 0 {
			return false
		}
	}
	return len(w.subs) > 0
}

// each calls yield for every one that wants the event, until that returns false.
func (w *wanted) each(e *Event, yield func(*Subscription) bool) {
	try := func(sub *Subscription) bool {
		if sub.place == 0 || w.late && sub.start != nil && sub.start.Point.Covers(e) {
			return true
		}
		w.tries++
		return yield(sub)
	}
	if w.index == nil {
		for _, sub := range w.subs {
			if sub.filter.Matches(e) && !try(sub) {
				return
			}
		}
		return
	}
	going := true
	w.index.match(e, func(double *Subscription) { going = going && try(w.whose[double]) })
}

// openQuestion is what must be asked for a subscription.
type openQuestion struct {
	Question
	sub *Subscription
}

// judgeLocked decides whether the client may read an event that it has missed, by
// what may be read today: through any subscription that wants it.
func (w *walk) judgeLocked(e *Event, now time.Time) (readable bool, open []openQuestion) {
	w.wanted.each(e, func(sub *Subscription) bool {
		switch j, q := w.hub.judgeStoredLocked(sub, e, now); j {
		case granted:
			readable = true
		case unknown:
			open = append(open, openQuestion{q, sub})
		case denied:
		}
		return !readable
	})
	if readable {
		return true, nil
	}
	return false, open
}

// lookAheadLocked adds the questions of the events that come next, so that the
// policy is asked once for many.
func (w *walk) lookAheadLocked(open []openQuestion, now time.Time) []openQuestion {
	asked := make(map[Question]bool)
	all := open[:0]
	add := func(more []openQuestion) {
		for _, o := range more {
			if !asked[o.Question] {
				asked[o.Question] = true
				all = append(all, o)
			}
		}
	}
	add(open)
	looked := 0
	w.wanted.tries = 0
	w.upcomingLocked(func(m Missed, _ place) bool {
		_, more := w.judgeLocked(m.Event, now)
		add(more)
		looked++
		return looked < scanEvents && w.wanted.tries < scanTries
	})
	return all
}
