package leaktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	"example.com/notifier/notifier"
)

// where says how an instance came by an event.
type where struct {
	done moment // the event's page was published
	*batch
}

// batch is some pages.
type batch struct {
	pages    []page
	controls []*notifier.Event
	next     []*batch // some that followed
}

func (i *instance) batches() []*batch {
	var all []*batch
	current := &batch{}
	for _, p := range i.published() {
		current.pages = append(current.pages, p)
		current.controls = append(current.controls, p.Controls...)
		if p.Last {
			all, current = append(all, current), &batch{}
		}
	}
	for n, b := range all {
		b.next = all[n+1 : min(n+4, len(all))]
	}
	return all
}

// placed is an event and how an instance came by it.
type placed struct {
	id int64
	where
}

// places finds for each event where it was, in the order in which it was there.
func (i *instance) places() (inOrder []placed, byID map[int64]where) {
	byID = map[int64]where{}
	for _, b := range i.batches() {
		for _, p := range b.pages {
			at := where{moment(p.done.UnixMicro()), b}
			for _, e := range p.Events {
				inOrder = append(inOrder, placed{e.ID, at})
				byID[e.ID] = at
			}
		}
	}
	return inOrder, byID
}

// control is a change of access as the log tells it.
type control struct {
	*notifier.Event
	seen  notifier.Position
	vague bool // it says nothing of what it saw
}

func newControl(e *notifier.Event) control {
	var said struct{ Snapshot string }
	if err := json.Unmarshal(e.Payload, &said); err != nil {
		panic(err)
	}
	if said.Snapshot == "" {
		return control{Event: e, vague: true}
	}
	seen, err := notifier.ParsePosition(said.Snapshot)
	if err != nil {
		panic(err)
	}
	return control{Event: e, seen: seen}
}

func (c control) grants() bool { return c.Control != notifier.ControlAccessRevoked }

// about returns the changes that concern a user's right to an event.
func about(controls []*notifier.Event, user string, e *event) []control {
	var all []control
	for _, c := range controls {
		if !strings.HasPrefix(string(c.Control), "access_") ||
			c.Recipient != nil && *c.Recipient != user ||
			c.DatasetID != nil && (e.dataset == nil || *c.DatasetID != *e.dataset) {
			continue
		}
		all = append(all, newControl(c))
	}
	return all
}

// What an oracle can find. Two things are withheld although the user could read
// them, because what the hub knows leaves open whether that was so: what is read
// together with a change that could not be given a place among the events, or
// has none itself; and what came before a change that may have given access, of
// whose absence or presence before nobody had asked.
const (
	leak        = "leak"
	misorder    = "change and event in the wrong order"
	replayLeak  = "leak by replay"
	miss        = "miss"
	noOrder     = "withheld, for want of an order"
	unknown     = "withheld, not known whether it was readable before a change"
	replayMiss  = "miss of replay"
	duplicate   = "duplicate"
	ordered     = "pairs of a change and an event in their order"
	deliveries  = "delivered live"
	overSockets = "delivered over sockets"
	withheld    = "withheld"
	replays     = "replayed"
)

// judge compares what subscribers received with the truth.
type judge struct {
	*truth
	places   map[*instance]map[int64]where
	inOrder  map[*instance][]placed
	created  []*event // in the order of their times
	findings map[string][]string
	totals   map[string]int
}

func newJudge(r *truth, instances ...*instance) *judge {
	j := &judge{
		truth: r, places: map[*instance]map[int64]where{}, inOrder: map[*instance][]placed{},
		findings: map[string][]string{}, totals: map[string]int{},
	}
	for _, i := range instances {
		j.inOrder[i], j.places[i] = i.places()
	}
	j.created = slices.SortedFunc(maps.Values(r.events), func(a, b *event) int { return a.created.Compare(b.created) })
	return j
}

// find notes what was found about a user's event.
func (j *judge) find(kind, user string, e *event, at where, more string) {
	var said []string
	var controls []*notifier.Event
	if at.batch != nil {
		controls = at.controls
	}
	for _, c := range about(controls, user, e) {
		said = append(said, fmt.Sprintf("%s by %d as of %v", c.Control, c.TxID, c.seen))
	}
	for _, b := range e.bits(user) {
		for _, c := range j.changes[b] {
			if c.stamp > e.stamp-200_000 && c.stamp < e.stamp+200_000 {
				said = append(said, fmt.Sprintf("%s is %t by %d at %d to %d", b, c.on, c.txid, c.stamp, c.heard))
			}
		}
	}
	j.findings[kind] = append(j.findings[kind], fmt.Sprintf("%s and event %d of type %s by transaction %d at %d to %d, published until %d: %s\n\t\t%s",
		user, e.id, e.eventType, e.txid, e.stamp, e.heard, at.done, more, strings.Join(said, "\n\t\t")))
}

// visit judges one subscriber.
func (j *judge) visit(v *visit) {
	live := map[int64]int{}
	for _, id := range v.received() {
		live[id]++
	}
	for id, times := range live {
		e := j.events[id]
		if e == nil {
			continue // a mark
		}
		j.totals[deliveries]++
		if times > 1 {
			j.find(duplicate, v.user, e, where{}, fmt.Sprint(times, " times"))
		}
		j.leak(v.instance, v.user, e)
	}
	inOrder := j.inOrder[v.instance]
	first := sort.Search(len(inOrder), func(i int) bool { return inOrder[i].done >= v.from })
	for _, at := range inOrder[first:] {
		e := j.events[at.id]
		if at.done > v.until {
			break
		}
		if e == nil || live[at.id] > 0 || !e.wantedBy(v.user, v.filter) || e.stamp < v.from {
			continue
		}
		if !j.readable(v.user, e, at.done) {
			j.totals[withheld]++
		} else if why, doubt := j.doubtful(v.user, e, at.where); doubt {
			j.find(why, v.user, e, at.where, "")
		} else {
			j.find(miss, v.user, e, at.where, "")
		}
	}
	j.replayed(v, live)
}

// call judges one client.
func (j *judge) call(c *call) {
	for _, name := range c.names {
		if e := j.byName[name]; e != nil {
			j.totals[overSockets]++
			j.leak(c.instance, c.user, e)
		}
	}
}

// leak looks whether an event that a user got was committed while it was
// certainly not readable.
func (j *judge) leak(i *instance, user string, e *event) {
	if b, yes := j.forbidden(user, e); yes {
		j.find(leak, user, e, j.places[i][e.id], string(b)+" was off")
	}
}

// order checks what the changes that give access say of the events they were
// read with against the order of commits.
func (j *judge) order(i *instance) {
	for _, at := range j.inOrder[i] {
		e := j.events[at.id]
		if e == nil || e.unordered {
			continue
		}
		for _, one := range at.controls {
			by := j.commits[one.TxID]
			if one.TxID == e.txid || by == nil || by.stamp == 0 || one.Control == notifier.ControlAccessRevoked || !strings.HasPrefix(string(one.Control), "access_") {
				continue
			}
			c := newControl(one)
			if c.vague {
				continue
			}
			j.totals[ordered]++
			if e.before(by) && !c.seen.Ended(e.txid) || by.before(e.commit) && c.seen.Ended(e.txid) {
				j.find(misorder, "", e, at.where, fmt.Sprintf("seen %t in that of %s by %d at %d to %d as of %v",
					c.seen.Ended(e.txid), c.Control, c.TxID, by.stamp, by.heard, c.seen))
			}
		}
	}
}

// doubtful reports whether a change that may have given access, and of which it
// is not certain that it was before the event, leaves open what was: and why.
func (j *judge) doubtful(user string, e *event, at where) (why string, yes bool) {
	for _, c := range about(at.controls, user, e) {
		if !c.grants() || c.TxID == e.txid {
			continue
		}
		if c.vague || e.unordered {
			return noOrder, true
		}
		if c.seen.Ended(e.txid) || !j.commits[c.TxID].before(e.commit) {
			why, yes = unknown, true
		}
	}
	return why, yes || slices.ContainsFunc(at.next, func(later *batch) bool {
		return slices.ContainsFunc(about(later.controls, user, e), func(c control) bool {
			why = unknown
			return c.grants() && j.commits[c.TxID].stamp <= at.done
		})
	})
}

// replayed judges a replay: it goes by what may be read while it runs, and has
// what live has not.
func (j *judge) replayed(v *visit, live map[int64]int) {
	shown := map[int64]bool{}
	for _, id := range v.inbox.replay {
		e := j.events[id]
		if e == nil {
			continue
		}
		j.totals[replays]++
		if shown[id] || live[id] > 0 {
			j.find(duplicate, v.user, e, where{}, "replayed and live")
		}
		shown[id] = true
		if j.lostBefore(v, e) {
			j.find(replayLeak, v.user, e, where{}, "")
		}
	}
	if v.replayUntil == 0 {
		return
	}
	first := sort.Search(len(j.created), func(i int) bool { return !j.created[i].created.Before(v.filter.Since) })
	for _, e := range j.created[first:] {
		covered := v.point.Covers(&notifier.Event{ID: e.id, TxID: e.txid})
		if e.created.UnixMicro() > int64(v.replayUntil) {
			break
		}
		if !covered || !e.wantedBy(v.user, v.filter) || shown[e.id] || live[e.id] > 0 {
			continue
		}
		during := &event{commit: &commit{stamp: v.before, heard: v.replayFrom}, eventType: e.eventType, dataset: e.dataset}
		if j.readable(v.user, during, v.replayUntil) {
			j.find(replayMiss, v.user, e, where{}, fmt.Sprintf("the point is %v, the replay was from %d to %d", v.point, v.replayFrom, v.replayUntil))
		}
	}
}

// lostBefore reports whether the right to an event was lost before a replay
// began, as the instance knew, and not given back before it ended.
func (j *judge) lostBefore(v *visit, e *event) bool {
	return v.replayUntil != 0 && slices.ContainsFunc(e.bits(v.user), func(b bit) bool {
		changes := j.changes[b]
		last := -1
		for i, c := range changes {
			if c.stamp > v.replayUntil {
				break
			}
			last = i
		}
		return last >= 0 && !changes[last].on && changes[last].heard < v.before
	})
}

// report logs all figures and fails the test for what must not be.
func (j *judge) report(t *testing.T) {
	t.Helper()
	for kind, all := range j.findings {
		say := t.Errorf
		if kind == noOrder || kind == unknown {
			say = t.Logf
		}
		slices.Sort(all)
		say("%d times %s, first\n\t%s", len(all), kind, all[0])
	}
	for _, what := range []string{deliveries, overSockets, withheld, replays, ordered} {
		if j.totals[what] == 0 {
			t.Errorf("no %s: nothing is shown", what)
		}
	}
	for _, counts := range []map[string]int{j.totals, j.counts} {
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			t.Logf("%9d %s", counts[what], what)
		}
	}
}
