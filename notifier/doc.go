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
//
// # Who was away, and who is slow
//
// A [Cursor] is a Point that a client keeps, with what tells whether it still means
// anything: the [History] and an [Anchor]. A [CursorSigner] makes it a text. Between
// a client's cursor and the point where its subscriptions begin lies what it has
// missed, which [Hub.Missed] finds: in the newest events, which the hub keeps in
// memory for all (recent.go, extend.go), or in the [Log].
//
// A subscriber that is behind gets nothing live. It is put behind when it resumes, or
// falls behind when its receiver has no room; [Hub.CatchUp] brings it back, at its
// own pace, by the same walk through the log (missed.go, behind.go).
package notifier
