package httpapi

import (
	"context"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// Operation is what operators can ask a server for and the HTTP side does not
// know. Every field may be left out; then nothing is told of it.
type Operation struct {
	// Self is this instance.
	Self notifier.Instance
	// Instances returns all that run, this one too.
	Instances func(ctx context.Context) ([]notifier.Instance, error)
	// EventsRead returns how many events of the log were read so far.
	EventsRead func() int64
	// Latencies returns those of the last seconds; nil: nothing was measured.
	Latencies func() *instances.Latencies
	// Trace tells what has become of an event, and what a user may see of it.
	Trace func(ctx context.Context, user string, id int64) (notifier.Trace, error)
	// Doctor examines what this instance works with.
	Doctor func(ctx context.Context) []notifier.Finding
}
