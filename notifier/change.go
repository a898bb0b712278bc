package notifier

import (
	"encoding/json"
	"iter"
	"slices"
)

// change is a control event that says that access has changed.
type change struct {
	user, dataset   *string // nil: any
	grants, revokes bool
	txid            uint64
	// at is the snapshot the change was committed in: what it sees was committed
	// before the change, all else after it.
	at    Position
	blind bool // it is not known
	// exact: it is of one condition, which was the opposite before: whether
	// there is the user, or whether the user has a permission.
	exact bool
	// ahead: it was committed after the batch that is being published.
	ahead bool
}

// statement is what the payload of a control event says.
type statement struct {
	Snapshot string `json:"snapshot"`
	Source   string `json:"source"`
}

// usersSource is the source of changes of the table of users.
const usersSource = "users"

// changesOf reads the changes of access among control events, which are in the
// order of their ids. One whose snapshot can't be read, or that has none because
// it could not be given a place among the events, withholds more rather than
// less.
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
		var said statement
		err := json.Unmarshal(e.Payload, &said)
		if err == nil {
			c.at, err = ParsePosition(said.Snapshot)
		}
		c.blind = err != nil
		c.exact = c.user != nil && (c.dataset != nil || said.Source == usersSource) && c.grants != c.revokes
		all = append(all, c)
	}
	settle(all)
	for i := range all {
		all[i].exact = all[i].exact && !all[i].blind
	}
	return all
}

// settle has the changes of one transaction count as what they are together,
// since nobody else sees what was between: what is revoked and granted again in
// one commit was never missing. Such changes still make verdicts be asked anew.
func settle(all []change) {
	byTxID := make(map[uint64][]*change, len(all))
	for i := range all {
		byTxID[all[i].txid] = append(byTxID[all[i].txid], &all[i])
	}
	for _, one := range byTxID {
		if len(one) > 1 {
			cancelOut(one)
		}
	}
}

// cancelOut undoes what a transaction takes back by itself.
func cancelOut(one []*change) {
	same := func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
	var first []*change // of each condition, in which state it was before
	for i, c := range one {
		if !c.exact {
			continue
		}
		// What was taken from all before need not have been missing.
		if c.grants && slices.ContainsFunc(one[:i], func(other *change) bool {
			return !other.exact && other.revokes && (other.user == nil || same(other.user, c.user)) &&
				(other.dataset == nil || c.dataset != nil && same(other.dataset, c.dataset))
		}) {
			c.exact = false
			continue
		}
		at := slices.IndexFunc(first, func(f *change) bool { return same(f.user, c.user) && same(f.dataset, c.dataset) })
		if at < 0 {
			first = append(first, c)
			continue
		}
		was := first[at]
		if was.revokes != c.revokes {
			was.grants, was.revokes, c.grants, c.revokes = false, false, false, false
			first = slices.Delete(first, at, at+1)
		} else {
			was.grants, was.revokes = false, false
			first[at] = c
		}
	}
}

func (c *change) concerns(q Question) bool {
	return (c.user == nil || *c.user == q.User) &&
		(c.dataset == nil || q.HasDataset && *c.dataset == q.Dataset)
}

// comesAfter reports whether the change was committed after the event, unless it
// is blind.
func (c *change) comesAfter(e *Event) bool { return c.ahead || c.at.Ended(e.TxID) }

// changes are findable by whom they concern.
type changes struct {
	list      []change
	byUser    map[string][]*change
	byDataset map[string][]*change // of any user
	others    []*change            // of any user and dataset
}

func newChanges(list []change) changes {
	all := changes{list: list}
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

// concerning yields the changes that may have changed the answer.
func (all *changes) concerning(q Question) iter.Seq[*change] {
	return func(yield func(*change) bool) {
		if len(all.list) == 0 {
			return
		}
		lists := [3][]*change{all.byUser[q.User], nil, all.others}
		if q.HasDataset {
			lists[1] = all.byDataset[q.Dataset]
		}
		for _, list := range lists {
			for _, c := range list {
				if (c.grants || c.revokes) && c.concerns(q) && !yield(c) {
					return
				}
			}
		}
	}
}

// concern reports whether any of the changes may have changed the answer.
func (all *changes) concern(q Question) bool {
	for range all.concerning(q) {
		return true
	}
	return false
}
