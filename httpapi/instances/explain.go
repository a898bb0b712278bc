package instances

import (
	"fmt"
	"strings"
	"time"

	"example.com/notifier/notifier"
)

// Explanation says why a user has got an event, or has not.
type Explanation struct {
	Reason     Reason `json:"reason"`
	Conclusion string `json:"conclusion"`
	notifier.Trace
	Instances []ReceptionOf `json:"instances"`
}

// Reason is the first thing that keeps an event from a user, in the order in which
// it goes.
type Reason string

// The reasons.
const (
	Removed       Reason = "removed"       // by retention
	Absent        Reason = "absent"        // never committed
	Open          Reason = "open"          // perhaps not committed yet
	Control       Reason = "control"       // for the servers only
	NoUser        Reason = "no_user"       // the policy knows no such user
	OtherUser     Reason = "other_user"    // addressed to somebody else
	NoPermission  Reason = "no_permission" // the policy says no
	PolicyFails   Reason = "policy_fails"
	Withheld      Reason = "withheld" // committed while the user had no access
	NotConnected  Reason = "not_connected"
	NotSubscribed Reason = "not_subscribed"
	Unread        Reason = "unread" // the instance has not come to it yet
	Late          Reason = "late"   // the subscription began after it
	IsBehind      Reason = "behind" // the client has not come to it yet
	Delivered     Reason = "delivered"
)

// ReceptionOf is how an event meets the clients of an instance.
type ReceptionOf struct {
	Head
	// Passed says that the instance has come to the event, Position how far it is.
	Passed      bool        `json:"passed"`
	Position    string      `json:"position"`
	Connections []Reception `json:"connections"`
}

// Reception is how an event meets a client.
type Reception struct {
	Client
	Passed  bool    `json:"passed"` // the client is beyond the event
	Matches []Match `json:"matches"`
}

// Match is how an event meets a subscription. Mismatch names the part of the filter
// that does not want it.
type Match struct {
	Filter   Filter `json:"filter"`
	Admin    bool   `json:"admin"`
	Mismatch string `json:"mismatch"`
	Late     bool   `json:"late"` // it began after the event
}

// Filter is what a subscription wants: of each list some value, if there are any.
type Filter struct {
	Types     []string   `json:"types"`
	Actions   []string   `json:"actions"`
	Keys      []string   `json:"keys"`
	Recipient *string    `json:"recipient"`
	OrNobody  bool       `json:"or_nobody"`
	Since     *time.Time `json:"since"`
}

// maxListed bounds what is told of a filter's lists.
const maxListed = 20

// FilterOf returns what is told of a filter.
func FilterOf(f notifier.Filter) Filter {
	some := func(list []string) []string { return append([]string{}, list[:min(maxListed, len(list))]...) }
	told := Filter{Types: some(f.Types), Actions: some(f.Actions), Keys: some(f.Keys), Recipient: f.Recipient, OrNobody: f.OrNobody}
	if !f.Since.IsZero() && f.Since.Year() > 0 && f.Since.Year() < 10_000 {
		told.Since = &f.Since
	}
	return told
}

// Conclude finds the reason.
func (e *Explanation) Conclude() {
	e.Reason, e.Conclusion = e.conclude()
	var silent []string
	for _, i := range e.Instances {
		if i.Error != "" {
			silent = append(silent, i.Name+" "+i.Error)
		}
	}
	if e.Row != nil && e.Row.TooLarge {
		e.Conclusion += "; its payload is larger than NOTIFIER_MAX_PAYLOAD: null goes out in its place"
	}
	if len(silent) > 0 && e.Row != nil {
		e.Conclusion += "; but of some instances nothing is known: " + strings.Join(silent, ", ")
	}
}

func (e *Explanation) conclude() (Reason, string) {
	switch {
	case e.Fate == notifier.FateRemoved:
		return Removed, "the event is not stored any more: it was removed by retention, or never committed"
	case e.Fate == notifier.FateOpen:
		return Open, "there is no such event, or it is not committed yet: transactions that have written events are open (" + strings.Join(e.Writers, "; ") + ")"
	case e.Row == nil:
		return Absent, "there is no such event: it was never written, or its transaction was rolled back"
	case e.Row.Control != "":
		return Control, "it is an order to the servers (" + string(e.Row.Control) + "), which no client gets"
	}
	if !e.seenByAdmin() {
		if reason, why := e.forbidden(); reason != "" {
			return reason, why
		}
	}
	return e.received()
}

// seenByAdmin reports whether a subscription wants the event that sees everything.
func (e *Explanation) seenByAdmin() bool {
	for _, i := range e.Instances {
		for _, c := range i.Connections {
			for _, m := range c.Matches {
				if m.Admin && m.Mismatch == "" {
					return true
				}
			}
		}
	}
	return false
}

// forbidden finds why the user may not read the event.
func (e *Explanation) forbidden() (Reason, string) {
	p, user := e.Policy, fmt.Sprintf("%q", e.User)
	if p == nil {
		return NoUser, "nobody can be called " + user
	}
	switch {
	case p.Error != "":
		return PolicyFails, "the policy fails: " + p.Error
	case !p.Exists && p.Disabled:
		return NoUser, "the user " + user + " is disabled"
	case !p.Exists:
		return NoUser, "by notifier.user_exists, there is no user " + user
	case e.Row.Recipient != nil && *e.Row.Recipient != e.User:
		return OtherUser, fmt.Sprintf("it is addressed to %q", *e.Row.Recipient)
	case !p.MayRead:
		return NoPermission, "by notifier.may_read, " + user + " may not read " + e.about() + e.lost()
	}
	if taken, given := notifier.FellBetween(e.Changes); taken != nil {
		return Withheld, fmt.Sprintf("it was committed after %s had lost access (row %d) and before access was given again (row %d): it was withheld; a replay brings it, by today's policy",
			user, taken.ID, given.ID)
	}
	return "", ""
}

func (e *Explanation) about() string {
	about := fmt.Sprintf("events of the type %q", e.Row.Type)
	if e.Row.DatasetID == nil {
		return about + " without a dataset"
	}
	return about + fmt.Sprintf(" in the dataset %q", *e.Row.DatasetID)
}

// lost says since when, if a client may have got the event before.
func (e *Explanation) lost() string {
	for _, c := range e.Changes {
		if c.Control != notifier.ControlAccessGranted && c.EventFirst != nil && *c.EventFirst {
			return fmt.Sprintf("; access has changed after the event (row %d, %s): who was live then may have got it", c.ID, c.CreatedAt.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// progress is how far an event has come to a client: the further, the higher.
var progress = map[Reason]int{NotConnected: 0, NotSubscribed: 1, Unread: 2, Late: 3, IsBehind: 4, Delivered: 5}

// received finds how far the event has come, to that client to which it has come
// the furthest.
func (e *Explanation) received() (best Reason, why string) {
	best, why = NotConnected, fmt.Sprintf("%q is not connected; it gets the event when it comes back and asks for what it has missed", e.User)
	for _, i := range e.Instances {
		for _, c := range i.Connections {
			if reason, text := i.receivedBy(c); progress[reason] > progress[best] {
				best, why = reason, text
			}
		}
	}
	return best, why
}

func (i *ReceptionOf) receivedBy(c Reception) (best Reason, why string) {
	client := fmt.Sprintf("client %s (%s, %s) on %s", c.ID, c.Protocol, c.Address, i.Name)
	best, why = NotSubscribed, client+" has subscribed to nothing"
	for _, m := range c.Matches {
		reason, text := i.meets(c, m)
		if progress[reason] > progress[best] || best == NotSubscribed && reason == NotSubscribed {
			best, why = reason, client+" "+text
		}
	}
	return best, why
}

func (i *ReceptionOf) meets(c Reception, m Match) (Reason, string) {
	switch {
	case m.Mismatch != "":
		return NotSubscribed, fmt.Sprintf("has no subscription that wants it: the nearest does not want its %s", m.Mismatch)
	case !i.Passed:
		return Unread, "is subscribed to it, but the instance has not come to the event: see whether it reads the log (notifier_ready)"
	case m.Late:
		return Late, "subscribed after it: only a replay, or a cursor, brings it"
	case !c.Passed:
		return IsBehind, fmt.Sprintf("is behind since %v, and has not come to the event yet", time.Duration(c.LagMS)*time.Millisecond)
	}
	return Delivered, "has got it: it was queued for the client, or sent"
}
