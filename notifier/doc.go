// Package notifier is the core of the server: what an event is, where in the
// log a reader stands, who is interested in what, and what waits to be written
// to whom. It knows neither sockets nor SQL, so all of it can be tested on fake
// time.
//
// # The model
//
// The log is a Postgres table. An [Event] is one of its rows. A [Position] says
// which transactions had ended at some moment; the events between two positions
// are a batch, which arrives as one [Page] or, where it is large, as several.
// A [Point] is a place inside a batch.
//
// The [Hub] is fed pages by one goroutine. It holds the subscriptions, each a
// [Filter] of one [Subscriber], finds those an event is for by hash look-ups,
// has it encoded once per protocol by an [Encoder], and queues the shared bytes
// at each [Receiver], typically in its [Outbox]. Nothing in the hub ever waits
// for a client.
//
// # Replay joined to live
//
// [Hub.Subscribe] returns the Point at which the subscription joined. Replay
// takes the stored events that [Point.Covers]; the hub delivers all the others.
// The seam is exact by construction, and nothing needs deduplicating.
package notifier
