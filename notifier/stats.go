package notifier

import (
	"errors"
	"time"
)

// HubStats is what a hub holds, and what it has done since it was made.
type HubStats struct {
	Subscribers   int
	Subscriptions int
	// Readers are the subscribers that are behind and read from the log at their
	// own pace.
	Readers int

	// Deliveries are the live events that were queued, CaughtUp those that were
	// handed to clients that had missed them; once for each client.
	Deliveries, CaughtUp int64

	// Checks are the looks at what is known of a user's right to an event, live
	// or in a replay; Known are those that found a verdict. After each that did
	// not, the policy was asked and the event looked at again.
	Checks, Known int64
	// Questions are those that the policy has answered, Statements the
	// statements that it took, and Failures the attempts that failed: while they
	// do, nothing is delivered.
	Questions, Statements, Failures int64
}

// Stats returns the figures of this moment. They are counted under the lock that
// everything they count needs anyway.
func (h *Hub) Stats() HubStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	stats := h.stats
	stats.Subscribers, stats.Readers = len(h.subscribers), h.readers
	return stats
}

// answeredLocked counts a statement of the policy's.
func (h *Hub) answeredLocked(questions []Question) {
	h.stats.Statements++
	h.stats.Questions += int64(len(questions))
}

// failed counts an attempt to have the policy answer that failed; an answer that
// access has overtaken is none.
func (h *Hub) failed(err error) {
	if err == nil || errors.Is(err, errStalePolicy) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats.Failures++
}

// Clock is the database's beside this machine's. It tells, with an event's
// CreatedAt, how long ago the transactions of a page committed: Postgres itself
// keeps no time of a commit.
type Clock struct {
	// Since is a time, by the database's clock, when no transaction of the page
	// had committed yet; zero: unknown.
	Since time.Time
	// Ahead is how far the database's clock is ahead of this machine's.
	Ahead time.Duration
}
