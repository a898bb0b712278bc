package db

import (
	"context"
	"testing"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// PollSession returns a connection of the feed's, and what reads the log once by
// it and counts.
func PollSession(t *testing.T, d *DB) (*pgx.Conn, func() int) {
	conn, err := d.openFeedSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(conn) })
	counted := &countingHub{Hub: notifier.NewHub(notifier.HubConfig{})}
	f := &feed{db: d, hub: counted}
	r := &reader{db: d, conn: conn}
	if err := f.begin(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return conn, func() int {
		if _, _, err := f.read(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return counted.events
	}
}

// RecentEvents is how many events a feed remembers.
const RecentEvents = recentEvents

// WaitingToResume is how many questions wait for the next statement, and
// ResumeStatements how many statements there have been.
func WaitingToResume(d *DB) int {
	d.resuming.mu.Lock()
	defer d.resuming.mu.Unlock()
	return len(d.resuming.waiting)
}

func ResumeStatements(d *DB) int {
	d.resuming.mu.Lock()
	defer d.resuming.mu.Unlock()
	return d.resuming.asked
}

// The statements whose plans are tested, and the settings they are planned
// under.
const FeedSession = feedSession

var (
	ReadSpan   = readSpan
	ReadIDs    = readIDs
	ReplayPage = replayPage
	ReplayIDs  = replayIDs
	LatestPage = latestPage
)

// ReplayPlan and LatestPlan set, for their transaction, what a page is planned
// under.
const (
	ReplayPlan = replayPlan
	ListSince  = listSince
	// PooledPlan is for a replay by time.
	PooledPlan = pooledPlan
	LatestPlan = latestPlan
)

// Bounds of a page.
const (
	PageRows  = pageRows
	PageBytes = pageBytes
	Listed    = listedForOne
)

type countingHub struct {
	*notifier.Hub
	events int
}

func (h *countingHub) Publish(_ context.Context, p notifier.Page) error {
	h.events += len(p.Events)
	return nil
}

// Whereabouts returns the transactions among which a replay since a time looks
// first, and up to what time, nil for any.
func Whereabouts(t *testing.T, d *DB, since time.Time, until notifier.Position) (first, past []uint64, before *time.Time) {
	t.Helper()
	r := &replayByTime{db: d, until: until, at: replayPlace{created: timestamp(since)}, minutes: firstMinutes}
	where, err := r.whereabouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if where.before.Valid {
		before = &where.before.Time
	}
	return where.first, where.past, before
}
