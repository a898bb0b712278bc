package metrics

import (
	"context"
	"time"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
	"github.com/prometheus/client_golang/prometheus"
)

// TimedHub is a hub that measures how long events take on their way through it.
//
// When a transaction committed, Postgres does not tell. What is known: not before
// its last event was created, nor before the moment, between two reads, at which
// it was still in progress. The later of the two is what is taken, so the times
// measured are a little too long rather than too short, and an event that waited
// in a long transaction does not count as late. Each transaction counts once a
// page, so that a bulk insert does not outweigh all others.
type TimedHub struct {
	*notifier.Hub
	read, written times

	newest map[uint64]time.Time // of each transaction of the page; used again
}

// buckets are in seconds: from less than a local read takes to an outage.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

const (
	// maxHeld is how long before the last read an event may have been created: a
	// time from longer ago was probably set by a client.
	maxHeld = time.Minute
	// maxAhead is how far an event's time may be ahead of the database's clock.
	maxAhead = time.Second
)

const approximately = " The time of a commit is not known exactly: it is taken to be when the transaction's newest event was created, " +
	"or when it was last seen in progress, whichever is later. One observation a transaction; " +
	"transactions whose created_at was set by a client (whole seconds, or far off) are left out."

// times are observed twice: for scrapes, since the start, and for who looks on, of
// the last seconds.
type times struct {
	histogram prometheus.Histogram
	window    window
}

// Time puts a clock beside a hub. The feed must be given the result, or no times are
// measured. It costs a look at each event's time.
func Time(hub *notifier.Hub) *TimedHub {
	histogram := func(name, help string) times {
		return times{histogram: prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help + approximately, Buckets: buckets})}
	}
	return &TimedHub{
		Hub:  hub,
		read: histogram("notifier_commit_to_read_seconds", "Time from a commit until its events are read."),
		written: histogram("notifier_commit_to_written_seconds",
			"Time from a commit until the sockets of its clients were written to, of pages of the log that were for anybody; "+
				"what a socket did not take at once is not waited for."),
		newest: make(map[uint64]time.Time),
	}
}

// Publish delivers a page. Only the feed's goroutine calls it, and only it makes
// deliveries.
func (t *TimedHub) Publish(ctx context.Context, p notifier.Page) error {
	t.findNewest(&p, time.Now().Add(p.Clock.Ahead))
	t.observe(&t.read, p.Clock)
	before := t.Stats().Deliveries
	err := t.Hub.Publish(ctx, p)
	if err == nil && t.Stats().Deliveries > before {
		t.observe(&t.written, p.Clock)
	}
	return err
}

// findNewest finds for each transaction when its newest event was created, now
// being the database's time.
func (t *TimedHub) findNewest(p *notifier.Page, now time.Time) {
	clear(t.newest)
	earliest := p.Clock.Since
	if earliest.IsZero() {
		earliest = now
	}
	earliest = earliest.Add(-maxHeld)
	latest := now.Add(maxAhead)
	for _, e := range p.Events {
		at := e.CreatedAt
		if e.Control != "" || at.Nanosecond() == 0 || at.Before(earliest) || at.After(latest) {
			continue
		}
		if at.After(t.newest[e.TxID]) {
			t.newest[e.TxID] = at
		}
	}
}

// observe records how long ago each of the page's transactions committed.
func (t *TimedHub) observe(to *times, clock notifier.Clock) {
	here := time.Now()
	now := here.Add(clock.Ahead)
	for _, created := range t.newest {
		commit := created
		if commit.Before(clock.Since) {
			commit = clock.Since
		}
		seconds := max(0, now.Sub(commit).Seconds())
		to.histogram.Observe(seconds)
		to.window.observe(here, seconds)
	}
}

// Latencies returns those of the last seconds; nil: there were none.
func (t *TimedHub) Latencies() *instances.Latencies {
	now := time.Now()
	l := &instances.Latencies{Read: t.read.window.latency(now), Written: t.written.window.latency(now)}
	if l.Read.Count == 0 {
		return nil
	}
	return l
}
