package leaktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"example.com/notifier/notifier"
)

// where says how an instance came by an event.
type where struct {
	done     moment // the event's page was published
	to       notifier.Position
	controls []*notifier.Event // of its batch
	next     []*notifier.Event // of some batches after it
}

// batch is some pages.
type batch struct {
	pages    []page
	controls []*notifier.Event
}

func (i *instance) batches() []batch {
	var all []batch
	var current batch
	for _, p := range i.published() {
		current.pages = append(current.pages, p)
		current.controls = append(current.controls, p.Controls...)
		if p.Last {
			all, current = append(all, current), batch{}
		}
	}
	return all
}

// places finds for each event where it was.
func (i *instance) places() map[int64]where {
	all := map[int64]where{}
	batches := i.batches()
	for n, b := range batches {
		var next []*notifier.Event
		for _, later := range batches[n+1 : min(n+4, len(batches))] {
			next = append(next, later.controls...)
		}
		for _, p := range b.pages {
			for _, e := range p.Events {
				all[e.ID] = where{moment(p.done.UnixMicro()), p.To, b.controls, next}
			}
		}
	}
	return all
}

// control is a change of access as the log tells it.
type control struct {
	*notifier.Event
	seen notifier.Position
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
		var said struct{ Snapshot string }
		if err := json.Unmarshal(c.Payload, &said); err != nil {
			panic(err)
		}
		seen, err := notifier.ParsePosition(said.Snapshot)
		if err != nil {
			panic(err)
		}
		all = append(all, control{c, seen})
	}
	return all
}

// What an oracle can find. Of the order of commits the log knows what the
// changes' snapshots tell, so two things are not the hub's to decide: an event
// that is committed between a grant's look at the others and its own commit
// counts as later; and one that a vague grant saw, while nobody knows what was
// before, is withheld.
const (
	leak        = "leak"
	windowLeak  = "event of the moment between a grant's snapshot and its commit"
	replayLeak  = "leak by replay"
	miss        = "miss"
	doubt       = "withheld in doubt"
	replayMiss  = "miss of replay"
	duplicate   = "duplicate"
	deliveries  = "delivered live"
	overSockets = "delivered over sockets"
	withheld    = "withheld"
	replays     = "replayed"
)

// judge compares what subscribers received with the truth.
type judge struct {
	*truth
	places   map[*instance]map[int64]where
	findings map[string][]string
	totals   map[string]int
}

func newJudge(r *truth, instances ...*instance) *judge {
	j := &judge{truth: r, places: map[*instance]map[int64]where{}, findings: map[string][]string{}, totals: map[string]int{}}
	for _, i := range instances {
		j.places[i] = i.places()
	}
	return j
}

// find notes what was found about a user's event.
func (j *judge) find(kind, user string, e *event, at where, more string) {
	var said []string
	for _, c := range about(at.controls, user, e) {
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
	for id, at := range j.places[v.instance] {
		e := j.events[id]
		if e == nil || live[id] > 0 || !e.wantedBy(v.user, v.filter) || e.stamp < v.from || at.done > v.until {
			continue
		}
		switch {
		case !j.readable(v.user, e, at.done):
			j.totals[withheld]++
		case j.doubtful(v.user, e, at):
			j.find(doubt, v.user, e, at, "")
		default:
			j.find(miss, v.user, e, at, "")
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
	b, back, yes := j.forbidden(user, e)
	if !yes {
		return
	}
	at := j.places[i][e.id]
	kind := leak
	if back != nil && slices.ContainsFunc(about(at.controls, user, e), func(c control) bool {
		return c.TxID == back.txid && c.grants() && !c.seen.Ended(e.txid)
	}) {
		kind = windowLeak
	}
	j.find(kind, user, e, at, string(b)+" was off")
}

// doubtful reports whether a grant that certainly was not before the event, or
// says that it was not, leaves open what was.
func (j *judge) doubtful(user string, e *event, at where) bool {
	return slices.ContainsFunc(about(at.controls, user, e), func(c control) bool {
		return c.grants() && (c.seen.Ended(e.txid) || !j.commits[c.TxID].before(e.commit))
	}) || slices.ContainsFunc(about(at.next, user, e), func(c control) bool {
		return c.grants() && j.commits[c.TxID].stamp <= at.done
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
	for id, e := range j.events {
		covered := v.point.Covers(&notifier.Event{ID: e.id, TxID: e.txid})
		if !covered || !e.wantedBy(v.user, v.filter) || shown[id] || live[id] > 0 {
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
			if c.stamp <= v.replayUntil {
				last = i
			}
		}
		return last >= 0 && !changes[last].on && changes[last].heard < v.before
	})
}

// report logs all figures and fails the test for what must not be.
func (j *judge) report(t *testing.T) {
	t.Helper()
	for kind, all := range j.findings {
		say := t.Errorf
		if kind == doubt || kind == windowLeak {
			say = t.Logf
		}
		slices.Sort(all)
		say("%d times %s, first\n\t%s", len(all), kind, all[0])
	}
	for _, what := range []string{deliveries, overSockets, withheld, replays} {
		if j.totals[what] == 0 {
			t.Errorf("nothing was %s: nothing is shown", what)
		}
	}
	for _, counts := range []map[string]int{j.totals, j.counts} {
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			t.Logf("%9d %s", counts[what], what)
		}
	}
}
