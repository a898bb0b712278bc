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
	c := comparison{missing: slices.Clone(wants)}
	came := s.until(ctx, func() bool {
		c.follow(s.events[s.seen:])
		return len(c.missing) == 0 || len(c.wrong) > 0 || s.ended != nil || s.session == nil
	})
	var before int
	var err error
	if came { // else it has failed, whatever may still come
		before, err = s.fenced()
	}
	s.mu.Lock()
	if !came || err != nil {
		before = len(s.events)
	}
	got := slices.Clone(s.events[s.seen:before])
	s.seen = before
	s.mu.Unlock()
	c.follow(got)
	switch {
	case err != nil:
		s.t.Errorf("%v: %v%s", s.Subscription, err, c.report(got))
	case len(c.missing) > 0 || len(c.wrong) > 0:
		after := ""
		if !came {
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
	if s.isOpen() {
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
	followed int      // how many events it has dealt with
	wrong    []string // an event each that should not have come, or not yet
	missing  []Want
}

// follow deals with those events that are new: each must be the next that is wanted
// of its object.
func (c *comparison) follow(all []Event) {
	for ; c.followed < len(all); c.followed++ {
		if text := c.take(all[c.followed]); text != "" {
			c.wrong = append(c.wrong, fmt.Sprintf("event %d %s", c.followed+1, text))
		}
	}
}

func (c *comparison) take(e Event) (wrong string) {
	due := slices.IndexFunc(c.missing, func(w Want) bool { return w.concerns(e) })
	if due < 0 {
		return fmt.Sprintf("is not expected: %v", e)
	}
	wanted := c.missing[due]
	difference := wanted.differs(e)
	switch {
	case difference == "" && due == 0: // as nearly always, and then nothing has to move
		c.missing = c.missing[1:]
		return ""
	case difference == "":
		c.missing = slices.Delete(c.missing, due, due+1)
		return ""
	}
	later := slices.IndexFunc(c.missing, func(w Want) bool { return w.concerns(e) && w.differs(e) == "" })
	if later >= 0 {
		c.missing = slices.Delete(c.missing, later, later+1)
		return fmt.Sprintf("came before %v: %v", wanted, e)
	}
	return fmt.Sprintf("is not %v, which was due: %v\n%s", wanted, e, indent(difference))
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
