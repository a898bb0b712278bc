package notifier

import "encoding/json"

// change is a control event that says that access has changed.
type change struct {
	user, dataset  *string // nil: any
	grants, revoke bool
	// at is the snapshot the change was made in: what it sees had been
	// committed before.
	at Position
}

// changesOf reads the changes of access among a batch's control events. One
// whose snapshot can't be read counts as made before everything, which withholds
// more rather than less.
func changesOf(controls []*Event) []change {
	var all []change
	for _, e := range controls {
		c := change{user: e.Recipient, dataset: e.DatasetID}
		switch e.Control {
		case ControlAccessGranted:
			c.grants = true
		case ControlAccessRevoked:
			c.revoke = true
		case ControlAccessChanged:
			c.grants, c.revoke = true, true
		default:
			continue
		}
		var payload struct {
			Snapshot string `json:"snapshot"`
		}
		if json.Unmarshal(e.Payload, &payload) == nil {
			c.at, _ = ParsePosition(payload.Snapshot) // the zero position if it fails
		}
		all = append(all, c)
	}
	return all
}

func (c *change) concerns(q Question) bool {
	return (c.user == nil || *c.user == q.User) &&
		(c.dataset == nil || q.HasDataset && *c.dataset == q.Dataset)
}

// withheld reports whether an event was committed while the access that its
// batch takes and gives back was missing. There is no order of commits inside a
// batch, but the snapshots of the changes tell: an event the revocation's does
// not see counts as later than it, and one a grant's sees as earlier than that.
// Any other event is decided by the verdict after the batch.
func withheld(changes []change, q Question, e *Event) bool {
	lost, regained := false, false
	for i := range changes {
		c := &changes[i]
		if !c.concerns(q) {
			continue
		}
		earlier := c.at.Ended(e.TxID)
		lost = lost || c.revoke && !earlier
		regained = regained || c.grants && earlier
	}
	return lost && regained
}
