package notifier

import (
	"slices"
	"time"
)

// Filter says which events a subscription wants. Matching is exact and
// case-sensitive. The zero Filter wants every event.
type Filter struct {
	// Types, Actions and Keys list the values wanted; empty: any.
	Types, Actions, Keys []string
	// Recipient wants only events addressed to this user; nil: addressed or
	// not.
	Recipient *string
	// OrNobody, with a Recipient, wants events addressed to nobody too.
	OrNobody bool
	// Since wants only events created at that time or later, live ones too;
	// zero: any.
	Since time.Time
}

// Matches reports whether the filter wants the event.
func (f *Filter) Matches(e *Event) bool {
	return listed(f.Types, e.Type) && listed(f.Actions, e.Action) && listed(f.Keys, e.Key) &&
		f.addressed(e) && f.timely(e)
}

func (f *Filter) timely(e *Event) bool { return f.Since.IsZero() || !e.CreatedAt.Before(f.Since) }

func listed(wanted []string, value string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

func (f *Filter) addressed(e *Event) bool {
	switch {
	case f.Recipient == nil:
		return true
	case e.Recipient == nil:
		return f.OrNobody
	}
	return *e.Recipient == *f.Recipient
}
