package main

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/httpapi/instances"
)

// TestTorture_InstancesBehindABalancer: while clients of every protocol follow
// through a balancer, and writers commit and push, of two and of three instances one
// is killed, one is restarted, and one is stopped and goes on. Whatever becomes of
// one, the others deliver on; in the end each client has had each event for it, once,
// and each object's in their order. What is revoked, and whose user is dropped, while
// one is stopped, counts there, too, when it goes on.
// NOTIFIER_TORTURE is how long that goes on, not counting that every third stop is then
// of a minute.
func TestTorture_InstancesBehindABalancer(t *testing.T) {
	var length, stop time.Duration
	writers := 4
	if text := os.Getenv("NOTIFIER_TORTURE"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("NOTIFIER_TORTURE: %v", err)
		}
		stop, writers = time.Minute, 8
	}
	for _, count := range []int{2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			f := newFleet(t, count, os.Args[0])
			f.run(writers)
			f.hear("at the beginning", f.clients)
			deadline := time.Now().Add(length)
			faults := &faults{fleet: f}
			for round := 0; round == 0 || time.Now().Before(deadline); round++ {
				faults.kill(f.members[round%count])
				faults.restart(f.members[(round+1)%count])
				if round%3 == 0 {
					deadline = deadline.Add(stop)
					faults.stop(f.members[(round+2)%count], stop)
				} else {
					faults.stop(f.members[(round+2)%count], 0)
				}
			}
			t.Logf("%s; %s", f.finish(), faults)
		})
	}
}

// faults is what has been done to a fleet.
type faults struct {
	fleet                  *fleet
	kills, restarts, stops int
	first                  []time.Duration // from a kill to the first event of each client that was cut off by it
	slowest                string          // the client of the longest
}

func (d *faults) kill(m *member) {
	began := time.Now()
	m.kill()
	d.kills++
	d.fleet.hear("after a kill", d.fleet.clients)
	for _, c := range d.fleet.clients {
		for _, gap := range c.Gaps() {
			if gap.From.After(began) && gap.From.Before(began.Add(time.Second)) { // later ones have other reasons
				after := gap.To.Sub(began)
				if len(d.first) == 0 || after > slices.Max(d.first) {
					d.slowest = c.String()
				}
				d.first = append(d.first, after)
				break
			}
		}
	}
	m.up()
}

func (d *faults) restart(m *member) {
	m.down()
	d.restarts++
	d.fleet.hear("after an end", d.fleet.clients)
	m.up()
	d.fleet.hear("after a restart", d.fleet.clients)
}

// stop leaves a process as it stands: its sockets stay open, and whatever it holds in
// the database.
func (d *faults) stop(m *member, atLeast time.Duration) {
	f := d.fleet
	v := newVisitors(f, fmt.Sprintf("u%d", d.stops))
	began := time.Now()
	m.halt()
	d.stops++
	v.sendAway(m)
	f.hear("while one is stopped", f.moving)
	d.ask(m)
	pausing(f.t.Context(), atLeast-time.Since(began))
	f.hear("at the end of the stop", f.moving)
	m.signal(syscall.SIGCONT)
	f.hear("after a stop", f.clients)
	v.haveGone()
}

// ask has another instance tell of all: it says who does not answer, and is not kept
// by it.
func (d *faults) ask(stopped *member) {
	t := d.fleet.t
	for _, m := range d.fleet.members {
		if m == stopped {
			continue
		}
		all := asked[instances.StatsOf](t, m.adminURL()+"/admin/stats")
		silent := slices.ContainsFunc(all, func(i instances.StatsOf) bool {
			return !i.Self && i.Error == "did not answer: timeout" // one that was killed refuses
		})
		own := slices.ContainsFunc(all, func(i instances.StatsOf) bool { return i.Self && i.Error == "" && i.EventsRead > 0 })
		if !silent || !own {
			t.Errorf("while one is stopped, another says: %+v", all)
		}
	}
}

// String is for the log: times depend on the machine.
func (d *faults) String() string {
	slices.Sort(d.first)
	text := fmt.Sprintf("%d kills, %d restarts, %d stops", d.kills, d.restarts, d.stops)
	if n := len(d.first); n > 0 {
		text += fmt.Sprintf("; %d clients were cut off by a kill and had their next event after %v (median), %v (the last, %s)",
			n, d.first[n/2].Round(time.Millisecond), d.first[n-1].Round(time.Millisecond), d.slowest)
	}
	return text
}
