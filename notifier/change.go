package notifier

import "encoding/json"

// change is a control event that says that access has changed.
type change struct {
	user, dataset   *string // nil: any
	grants, revokes bool
	txid            uint64
	// at is the snapshot the change was made in: what it sees had been
	// committed before.
	at    Position
	blind bool // it is not known
}

// changesOf reads the changes of access among a batch's control events, which
// are in the order of their ids. One whose snapshot can't be read withholds more
// rather than less.
func changesOf(controls []*Event) []change {
	var all []change
	for _, e := range controls {
		c := change{user: e.Recipient, dataset: e.DatasetID, txid: e.TxID}
		switch e.Control {
		case ControlAccessGranted:
			c.grants = true
		case ControlAccessRevoked:
			c.revokes = true
		case ControlAccessChanged:
			c.grants, c.revokes = true, true
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
	settle(all)
	return all
}

// settle undoes changes that one transaction takes back by itself: what is
// revoked and granted again in one commit was never missing to anybody else.
// Such a change still makes verdicts be asked anew.
func settle(all []change) {
	type place struct {
		txid          uint64
		user, dataset string
	}
	first := make(map[place]int)
	for i := range all {
		c := &all[i]
		if !c.exact() {
			continue
		}
		p := place{c.txid, *c.user, *c.dataset}
		at, again := first[p]
		if !again {
			first[p] = i
			continue
		}
		// The last one holds the outcome, the first one what was before.
		if was := &all[at]; was.revokes != c.revokes {
			was.grants, was.revokes, c.grants, c.revokes = false, false, false, false
			delete(first, p)
		} else {
			was.grants, was.revokes = false, false
			first[p] = i
		}
	}
}

// exact reports whether the change is of one user's access to one dataset, which
// was the opposite before.
func (c *change) exact() bool {
	return c.user != nil && c.dataset != nil && c.grants != c.revokes
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

// withhold reports whether an event was committed while the access that the
// verdict after the batch finds was still missing. There is no order of commits
// inside a batch, but the snapshots of the changes tell: an event that a change
// does not see counts as later than it. before is what was known of the access
// when the batch began. Where nothing tells, the verdict decides.
func (all *changes) withhold(q Question, e *Event, before judgement) bool {
	var t tally
	t.add(all.byUser[q.User], q, e)
	if q.HasDataset {
		t.add(all.byDataset[q.Dataset], q, e)
	}
	t.add(all.others, q, e)
	if before == unknown && t.grantedExactly && !t.willBeLost {
		before = denied // what is granted was missing
	}
	missing := t.lost || before == denied && !t.gained
	return missing && t.regained
}

// tally is what the changes say of one event for one user.
type tally struct {
	lost, gained         bool // before the event
	willBeLost, regained bool // after the event
	grantedExactly       bool
}

func (t *tally) add(list []*change, q Question, e *Event) {
	for _, c := range list {
		if !c.concerns(q) {
			continue
		}
		after := c.at.Ended(e.TxID) // the change comes after the event
		t.lost = t.lost || c.revokes && (c.blind || !after)
		t.gained = t.gained || c.grants && !c.blind && !after
		t.willBeLost = t.willBeLost || c.revokes && !c.blind && after
		t.regained = t.regained || c.grants && (c.blind || after)
		t.grantedExactly = t.grantedExactly || c.exact() && c.grants
	}
}
