package notifier

import "time"

// Instance is one running server, as the others know it.
type Instance struct {
	ID        string // a UUID, drawn when it started
	Name      string // for people
	Version   string
	StartedAt time.Time
	// SeenAt is when it last said that it runs, by the database's clock.
	SeenAt time.Time
	// AdminURL is where operators, and the other instances, can ask it; "":
	// nowhere.
	AdminURL string
	// Position is how far it has delivered the log; "": it does not follow it yet.
	Position string
	Feed     FeedState
}

// FeedState is how an instance follows the log.
type FeedState string

// The states of a feed.
const (
	FeedListening FeedState = "listening"
	FeedPolling   FeedState = "polling" // it is not to LISTEN
	FeedBroken    FeedState = "broken"  // it has no connection at the moment
)
