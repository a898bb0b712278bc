package notifier

import "encoding/json"

// change is a control event that says that access has changed.
type change struct {
	user, dataset  *string // nil: any
	grants, revoke bool
	// at is the snapshot the change was made in: what it sees had been
	// committed before.
	at    Position
	blind bool // it is not known
}

// changesOf reads the changes of access among a batch's control events. One
// whose snapshot can't be read withholds more rather than less.
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
		err := json.Unmarshal(e.Payload, &payload)
		if err == nil {
			c.at, err = ParsePosition(payload.Snapshot)
		}
		c.blind = err != nil
		all = append(all, c)
	}
	return all
}

func (c *change) concerns(q Question) bool {
	return (c.user == nil || *c.user == q.User) &&
		(c.dataset == nil || q.HasDataset && *c.dataset == q.Dataset)
}

// changes are those of one batch, findable by whom they concern.
type changes struct {
	list      []change
	byUser    map[string][]*change
	byDataset map[string][]*change // of any user
	others    []*change            // of any user and dataset
}

func newChanges(controls []*Event) changes {
	all := changes{list: changesOf(controls)}
	if len(all.list) == 0 {
		return all
	}
	all.byUser, all.byDataset = make(map[string][]*change), make(map[string][]*change)
	for i := range all.list {
		c := &all.list[i]
		switch {
		case c.user != nil:
			all.byUser[*c.user] = append(all.byUser[*c.user], c)
		case c.dataset != nil:
			all.byDataset[*c.dataset] = append(all.byDataset[*c.dataset], c)
		default:
			all.others = append(all.others, c)
		}
	}
	return all
}

// withhold reports whether an event was committed while the access that its
// batch takes and gives back was missing. There is no order of commits inside a
// batch, but the snapshots of the changes tell: an event the revocation's does
// not see counts as later than it, and one a grant's sees as earlier than that.
// Any other event is decided by the verdict after the batch.
func (all *changes) withhold(q Question, e *Event) bool {
	if len(all.list) == 0 {
		return false
	}
	var t tally
	t.add(all.byUser[q.User], q, e)
	if q.HasDataset {
		t.add(all.byDataset[q.Dataset], q, e)
	}
	t.add(all.others, q, e)
	return t.lost && t.regained
}

// tally is what the changes say of one event for one user.
type tally struct{ lost, regained bool }

func (t *tally) add(list []*change, q Question, e *Event) {
	for _, c := range list {
		if !c.concerns(q) {
			continue
		}
		earlier := c.at.Ended(e.TxID)
		t.lost = t.lost || c.revoke && (c.blind || !earlier)
		t.regained = t.regained || c.grants && (c.blind || earlier)
	}
}
