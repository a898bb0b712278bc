package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// firstPause is how soon the log is read again when a silent committer is
	// in flight: about as long as a commit takes to reach the disk.
	firstPause = time.Millisecond
	// tailPause bounds the growing pauses while somebody is in flight, and so
	// the delay of those who stay silent because a long transaction holds the
	// gate.
	tailPause = 40 * time.Millisecond
	// A read that finds a crowd is followed by the next no sooner than a
	// breather after it began: where many commit, each read more is work taken
	// from them, and each probe of the tail makes some of them ring for nothing.
	crowd    = 8
	breather = 5 * time.Millisecond
)

// pace decides how long to wait for the bell before reading anyway.
type pace struct {
	poll    time.Duration
	pause   time.Duration
	chasing bool // a poll found what nobody rang for
	// quiet is how long to wait with nobody in flight: it grows up to poll, so
	// that a bell which stops ringing among events is missed at once.
	quiet time.Duration
	chase bool // the wait is shorter than a poll, as something may be coming
}

func newPace(poll time.Duration) *pace { return &pace{poll: poll, pause: firstPause, quiet: poll} }

// next returns the time to wait after a read. rung says whether the bell caused
// it, found whether it brought anything, tailFree whether at its beginning
// nobody was in flight.
func (p *pace) next(rung, found, tailFree bool) time.Duration {
	switch {
	case rung:
		p.chasing = false
		p.pause, p.quiet = firstPause, tailPause
	case found:
		p.chasing = true
		p.pause, p.quiet = firstPause, tailPause
	}
	if tailFree && !p.chasing {
		wait := min(p.quiet, p.poll)
		p.pause, p.quiet = firstPause, min(2*p.quiet, p.poll)
		p.chase = false
		return wait
	}
	p.chase = true
	wait := min(p.pause, p.poll)
	if !tailFree {
		wait = min(wait, tailPause)
	}
	if p.pause < p.poll {
		p.pause *= 2
	} else {
		p.chasing = false // it has faded out; the poll finds the next
	}
	return wait
}

// bell waits for NOTIFY.
type bell struct {
	conn     *pgx.Conn
	pace     *pace
	listens  bool // else it never rings
	counters *counters
	rung     bool
	waited   bool
}

// count says what caused the read that has just been made, the first of a
// connection apart.
func (b *bell) count(found bool) {
	switch {
	case !b.waited || b.rung:
	case b.pace.chase:
		b.counters.chases.Add(1)
	case found && b.listens:
		b.counters.fallbackFinds.Add(1)
	}
	b.waited = true
}

// wait returns when the bell rings, or when it is time to read anyway.
func (b *bell) wait(ctx context.Context, found, tailFree bool) error {
	b.count(found)
	pause := b.pace.next(b.rung, found, tailFree)
	waiting, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	_, err := b.conn.WaitForNotification(waiting)
	b.rung = err == nil
	for err == nil { // further rings that have arrived are answered by the same read
		b.counters.rings.Add(1)
		cancel()
		_, err = b.conn.WaitForNotification(waiting)
	}
	if waiting.Err() != nil && ctx.Err() == nil && !b.conn.IsClosed() {
		return nil
	}
	return wrap("wait for the bell", err)
}
