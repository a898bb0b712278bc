package instances

import (
	"time"

	"example.com/notifier/notifier"
)

// Head says which instance a report is of, and why it says nothing if it does not.
type Head struct {
	Instance  string    `json:"instance"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	// Self is the instance that was asked by whoever reads it.
	Self bool `json:"self"`
	// Error is "" if it has answered; if it has not, all else of it is empty.
	Error string `json:"error"`
}

// HeadOf returns the head of an instance's report.
func HeadOf(i notifier.Instance) Head {
	return Head{Instance: i.ID, Name: i.Name, Version: i.Version, StartedAt: i.StartedAt, SeenAt: i.SeenAt}
}

// Report is the answer to a question that goes to all instances, the oldest first.
type Report[T any] struct {
	Instances []T `json:"instances"`
}

// ClientsOf is who is connected to an instance.
type ClientsOf struct {
	Head
	// Connections is how many there are of those asked about; Clients may be cut
	// off.
	Connections int      `json:"connections"`
	Clients     []Client `json:"clients"`
}

// Client is one connection.
type Client struct {
	ID          string    `json:"id"` // of this life of the instance
	Protocol    string    `json:"protocol"`
	User        string    `json:"user"`    // "" if it has not said so yet
	Address     string    `json:"address"` // with a port, if no proxy is between
	ConnectedAt time.Time `json:"connected_at"`
	// Subscriptions are those that are in force.
	Subscriptions int   `json:"subscriptions"`
	State         State `json:"state"`
	// LagMS is how long ago it was live last, in milliseconds; 0 if it is.
	LagMS        int64 `json:"lag_ms"`
	OutboxEvents int   `json:"outbox_events"`
	OutboxBytes  int   `json:"outbox_bytes"`
}

// State is how a client gets its events.
type State string

// The states of a client.
const (
	Live   State = "live"
	Behind State = "behind" // it is served from the log, at its own pace
)

// StatsOf is what an instance does. Counters are those since it started: two
// answers give rates.
type StatsOf struct {
	Head
	At            time.Time        `json:"at"`
	UptimeSeconds int64            `json:"uptime_seconds"`
	Connections   map[string]int64 `json:"connections"` // open, by protocol
	Subscriptions int              `json:"subscriptions"`
	// EventsRead are those of the log, EventsDelivered those queued for clients,
	// once for each.
	EventsRead      int64 `json:"events_read"`
	EventsDelivered int64 `json:"events_delivered"`
	// Refused are the clients, requests and messages that were refused.
	Refused      uint64 `json:"refused"`
	OutboxEvents int    `json:"outbox_events"`
	OutboxBytes  int    `json:"outbox_bytes"`
	Behind       int    `json:"behind"` // clients
	// Latency is of the last seconds; null while nothing is measured.
	Latency *Latencies `json:"latency_ms"`
}

// Latencies are how long events took from their commit on, of the last seconds.
type Latencies struct {
	Read    Latency `json:"commit_to_read"`
	Written Latency `json:"commit_to_written"`
}

// Latency is in milliseconds, of Count transactions.
type Latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Count int     `json:"count"`
}
