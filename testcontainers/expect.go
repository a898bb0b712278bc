package testcontainers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Expect waits until exactly these events have come, since the last Expect, those of
// each object (type and key) in this order, and nothing else. Where the protocol
// carries no key, the order of all counts. It may be called from any goroutine, one at a
// time for a subscriber.
func (s *Subscriber) Expect(wants ...Want) {
	s.t.Helper()
	ctx, cancel := s.patience()
	defer cancel()
	s.until(ctx, func() bool {
		c := compare(s.events[s.seen:], wants)
		return len(c.missing) == 0 || len(c.wrong) > 0 || s.ended != nil || s.session == nil
	})
	waited := ctx.Err() != nil
	before, err := s.fenced()
	if err != nil {
		before = len(s.Events())
	}
	s.mu.Lock()
	got := slices.Clone(s.events[s.seen:before])
	s.seen = before
	s.mu.Unlock()
	c := compare(got, wants)
	switch {
	case err != nil:
		s.t.Errorf("%v: %v%s", s.Subscription, err, c.report(got))
	case len(c.missing) > 0 || len(c.wrong) > 0:
		after := ""
		if waited {
			after = fmt.Sprintf(", after %v", s.instance.environment.suite.config.patience)
		}
		s.t.Errorf("%v: did not get what was expected%s:%s", s.Subscription, after, c.report(got))
	}
}

// ExpectNothing finds out that nothing has come since the last Expect, of all that is
// committed by now.
func (s *Subscriber) ExpectNothing() {
	s.t.Helper()
	s.Expect()
}

// NotDelivered finds out that no event like one of these has ever come to the
// subscriber, of all that is committed by now.
func (s *Subscriber) NotDelivered(wants ...Want) {
	s.t.Helper()
	before := len(s.Events()) // one that is not connected gets nothing more
	if s.disconnected() != nil && s.isOpen() {
		var err error
		if before, err = s.fenced(); err != nil {
			s.t.Errorf("%v: %v", s.Subscription, err)
			return
		}
	}
	for _, e := range s.Events()[:before] {
		for _, w := range wants {
			if w.differs(e) == "" {
				s.t.Errorf("%v: got what it must not: %v", s.Subscription, e)
			}
		}
	}
}

func (s *Subscriber) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session != nil && s.ended == nil
}

// NotDelivered finds out that no event like this has come to any subscriber of these
// users, of all that is committed by now.
func (e *Environment) NotDelivered(want Want, users ...string) {
	e.t.Helper()
	e.mu.Lock()
	subscribers := slices.Clone(e.subscribers)
	e.mu.Unlock()
	for _, user := range users {
		found := false
		for _, s := range subscribers {
			if s.User == user {
				found = true
				s.NotDelivered(want)
			}
		}
		if !found {
			e.t.Errorf("%s has no subscriber to whom anything could have been delivered", user)
		}
	}
}

// ExpectEnd waits until the server has ended the connection, and says how.
func (s *Subscriber) ExpectEnd() End {
	s.t.Helper()
	ctx, cancel := s.patience()
	defer cancel()
	var end End
	if !s.until(ctx, func() bool {
		if s.ended != nil {
			end = *s.ended
		}
		return s.ended != nil
	}) {
		s.t.Errorf("%v: the connection has not ended after %v", s.Subscription, s.instance.environment.suite.config.patience)
	}
	return end
}

// ExpectNotice waits until the server has said, besides events, something like this.
func (s *Subscriber) ExpectNotice(want Matcher) {
	s.t.Helper()
	ctx, cancel := s.patience()
	defer cancel()
	if !s.until(ctx, func() bool {
		return slices.ContainsFunc(s.notices, func(n json.RawMessage) bool { return want.Differs(n) == "" })
	}) {
		s.t.Errorf("%v: was not told %v, but %s", s.Subscription, want, s.Notices())
	}
}

func (s *Subscriber) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.t.Context(), s.instance.environment.suite.config.patience)
}

// fenced is a fence with a patience of its own.
func (s *Subscriber) fenced() (int, error) {
	ctx, cancel := s.patience()
	defer cancel()
	return s.fence(ctx)
}

// comparison is what there is to say of events.
type comparison struct {
	wrong   []string // an event each that should not have come, or not yet
	missing []Want
}

// compare has each event be the next that is wanted of its object.
func compare(got []Event, wants []Want) (c comparison) {
	open := slices.Clone(wants)
	for n, e := range got {
		due := slices.IndexFunc(open, func(w Want) bool { return w.concerns(e) })
		if due < 0 {
			c.wrong = append(c.wrong, fmt.Sprintf("event %d is not expected: %v", n+1, e))
			continue
		}
		difference := open[due].differs(e)
		if difference == "" {
			open = slices.Delete(open, due, due+1)
			continue
		}
		later := slices.IndexFunc(open, func(w Want) bool { return w.concerns(e) && w.differs(e) == "" })
		if later >= 0 {
			c.wrong = append(c.wrong, fmt.Sprintf("event %d came before %v: %v", n+1, open[due], e))
			open = slices.Delete(open, later, later+1)
			continue
		}
		c.wrong = append(c.wrong, fmt.Sprintf("event %d is not %v, which was due: %v\n%s", n+1, open[due], e, indent(difference)))
	}
	c.missing = open
	return c
}

func indent(text string) string {
	return "\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t")
}

// report is for a person.
func (c comparison) report(got []Event) string {
	var lines []string
	lines = append(lines, c.wrong...)
	for _, w := range c.missing {
		lines = append(lines, fmt.Sprintf("missing: %v", w))
	}
	if len(got) > 0 {
		lines = append(lines, "what came:")
	} else {
		lines = append(lines, "nothing came")
	}
	const most = 30
	for n, e := range got[:min(len(got), most)] {
		lines = append(lines, fmt.Sprintf("%4d. %v", n+1, e))
	}
	if len(got) > most {
		lines = append(lines, fmt.Sprintf("      and %d more", len(got)-most))
	}
	return "\n\t" + strings.ReplaceAll(strings.Join(lines, "\n"), "\n", "\n\t")
}
