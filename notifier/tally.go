package notifier

// tally is what changes say of the right to one event that a verdict allows
// which was computed after them.
type tally struct {
	// permission and existence are how often the condition was set, less how
	// often it was taken: it alternates.
	permission, existence balance
	// mayGain: by another change after the event; mayLack: by one before it.
	mayGain, mayLack bool
}

// balance is counted apart before and after the event.
type balance struct{ before, after int }

// add counts changes. There is no order of commits inside a batch, but the
// snapshots of the changes tell: an event that a change does not see counts as
// later than it. Those that had ended at since count no more; seen is as of when
// the verdict is.
func (t *tally) add(all *changes, q Question, e *Event, since, seen Position) {
	for c := range all.concerning(q) {
		if since.Ended(c.txid) {
			continue
		}
		after := c.comesAfter(e)
		// Of the events of its own transaction any change knows.
		blind := (c.blind || e.Unordered) && c.txid != e.TxID
		switch {
		case !c.exact, blind, c.ahead && !seen.Ended(c.txid): // whether the verdict knows of it is not certain
			t.mayGain = t.mayGain || c.grants && (blind || after)
			t.mayLack = t.mayLack || c.revokes && (blind || !after)
		case c.dataset != nil:
			t.permission.add(c.grants, after)
		default:
			t.existence.add(c.grants, after)
		}
	}
}

func (b *balance) add(granted, after bool) {
	count, sign := &b.before, -1
	if after {
		count = &b.after
	}
	if granted {
		sign = 1
	}
	*count += sign
}

// missing reports that the condition was set after the event: the verdict says
// that it is there in the end.
func (b balance) missing() bool { return b.after > 0 }

// lost reports that the condition was taken before the event, if it was there
// when the batch began.
func (b balance) lost() bool { return b.before < 0 }

// withhold reports whether the event was, or may have been, committed while the
// access was missing that the verdict finds. before is what was known of the
// access when the batch began.
func (t *tally) withhold(before judgement) bool {
	if t.permission.missing() || t.existence.missing() {
		return true
	}
	lack := t.mayLack || t.permission.lost() || t.existence.lost()
	return t.mayGain && (lack || before != granted)
}
