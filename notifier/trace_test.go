package notifier_test

import (
	"testing"
	"time"

	"example.com/notifier/notifier"
)

func TestFilter_Mismatch(t *testing.T) {
	t.Parallel()
	f := notifier.Filter{Types: []string{"t"}, Actions: []string{"a"}, Keys: []string{"k"}, Recipient: new("u"), Since: time.Unix(10, 0)}
	good := notifier.Event{Type: "t", Action: "a", Key: "k", Recipient: new("u"), CreatedAt: time.Unix(10, 0)}
	for want, change := range map[string]func(*notifier.Event){
		"":           func(*notifier.Event) {},
		"type":       func(e *notifier.Event) { e.Type = "x" },
		"action":     func(e *notifier.Event) { e.Action = "x" },
		"key":        func(e *notifier.Event) { e.Key = "x" },
		"recipient":  func(e *notifier.Event) { e.Recipient = nil },
		"created_at": func(e *notifier.Event) { e.CreatedAt = time.Unix(9, 0) },
	} {
		e := good
		change(&e)
		if got := f.Mismatch(&e); got != want || (got == "") != f.Matches(&e) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestFellBetween(t *testing.T) {
	t.Parallel()
	before, after := new(false), new(true) // whether the event came first
	row := func(id int64, c notifier.Control, eventFirst *bool) notifier.TracedChange {
		return notifier.TracedChange{ID: id, Control: c, EventFirst: eventFirst}
	}
	const revoked, granted, changed = notifier.ControlAccessRevoked, notifier.ControlAccessGranted, notifier.ControlAccessChanged
	for name, c := range map[string]struct {
		changes      []notifier.TracedChange
		taken, given int64
	}{
		"nothing":                       {nil, 0, 0},
		"taken, event, given":           {[]notifier.TracedChange{row(1, revoked, before), row(3, granted, after)}, 1, 3},
		"taken, given, event":           {[]notifier.TracedChange{row(1, revoked, before), row(2, granted, before)}, 0, 0},
		"event, taken, given":           {[]notifier.TracedChange{row(2, revoked, after), row(3, granted, after)}, 0, 0},
		"taken, event":                  {[]notifier.TracedChange{row(1, revoked, before)}, 0, 0},
		"taken, given, taken, event":    {[]notifier.TracedChange{row(1, revoked, before), row(2, granted, before), row(3, changed, before), row(5, granted, after)}, 3, 5},
		"taken, event, of unknown time": {[]notifier.TracedChange{row(1, revoked, nil), row(3, granted, after)}, 0, 0},
	} {
		taken, given := notifier.FellBetween(c.changes)
		var got [2]int64
		if taken != nil {
			got = [2]int64{taken.ID, given.ID}
		}
		if got != [2]int64{c.taken, c.given} {
			t.Errorf("%s: %v", name, got)
		}
	}
}
