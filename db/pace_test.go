package db

import (
	"testing"
	"time"
)

// read is what a reader finds, and what pace should make of it.
type read struct {
	rung, found, tailFree bool
	want                  time.Duration
}

func checkPace(t *testing.T, poll time.Duration, reads ...read) {
	t.Helper()
	p := newPace(poll)
	for i, r := range reads {
		if got := p.next(r.rung, r.found, r.tailFree); got != r.want {
			t.Errorf("after read %d: wait %v, want %v", i+1, got, r.want)
		}
	}
}

const ms = time.Millisecond

func TestPace_QuietPolls(t *testing.T) {
	t.Parallel()
	checkPace(t, 5*time.Second,
		read{false, false, true, 5 * time.Second},
		read{false, false, true, 5 * time.Second},
	)
}

// Somebody who is stuck with the bell in hand silences all others: among events,
// the log is read again soon, and then less and less often.
func TestPace_MissesTheBellSoon(t *testing.T) {
	t.Parallel()
	checkPace(t, 250*ms,
		read{true, true, true, 40 * ms},
		read{true, false, true, 40 * ms},
		read{false, false, true, 80 * ms},
		read{false, false, true, 160 * ms},
		read{false, false, true, 250 * ms},
		read{false, false, true, 250 * ms},
	)
}

// Somebody is about to commit silently: growing pauses, but never a long one.
func TestPace_FollowsASilentCommitter(t *testing.T) {
	t.Parallel()
	checkPace(t, 5*time.Second,
		read{true, true, false, 1 * ms},
		read{false, false, false, 2 * ms},
		read{false, false, false, 4 * ms},
		read{false, false, false, 8 * ms},
		read{false, false, false, 16 * ms},
		read{false, false, false, 32 * ms},
		read{false, false, false, 40 * ms},
		read{false, false, false, 40 * ms},
		read{true, false, false, 1 * ms},
		read{false, false, true, 40 * ms},
		read{false, false, false, 1 * ms},
	)
}

func TestPace_AHeldTailIsReadForEver(t *testing.T) {
	t.Parallel()
	p := newPace(5 * time.Second)
	for range 10_000 {
		if got := p.next(false, false, false); got > 40*ms {
			t.Fatalf("waits %v", got)
		}
	}
}

// A poll that finds something is followed by quick ones, until the bell rings or
// nothing has been found for long.
func TestPace_ChasesWhatNobodyRangFor(t *testing.T) {
	t.Parallel()
	checkPace(t, 20*ms,
		read{false, true, true, 1 * ms},
		read{false, false, true, 2 * ms},
		read{false, false, true, 4 * ms},
		read{false, true, true, 1 * ms},
		read{false, false, true, 2 * ms},
		read{false, false, true, 4 * ms},
		read{false, false, true, 8 * ms},
		read{false, false, true, 16 * ms},
		read{false, false, true, 20 * ms},
		read{false, false, true, 20 * ms},
		read{false, true, true, 1 * ms},
		read{true, true, true, 20 * ms},
		read{false, false, true, 20 * ms},
	)
}

// The poll is the longest wait, also where it is shorter than the others.
func TestPace_ShortPoll(t *testing.T) {
	t.Parallel()
	checkPace(t, ms/2,
		read{false, false, true, ms / 2},
		read{false, true, true, ms / 2},
		read{false, false, false, ms / 2},
	)
}
