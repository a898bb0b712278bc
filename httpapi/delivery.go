package httpapi

import (
	"context"
	"errors"
	"sync"

	"example.com/notifier/notifier"
)

// delivery brings a client its events: live from the hub, or from the log, at the
// client's own pace, while it is behind. It is the part of a receiver that
// WebSockets and other connections have in common.
type delivery struct {
	server *Server
	outbox *notifier.Outbox
	owner  recipient
	flush  func()

	mu         sync.Mutex
	subscriber *notifier.Subscriber
	encoder    notifier.Encoder // by which the subscriber's events are encoded
	cursors    bool             // the client has asked for them
	fallen     bool             // it has to catch up
	pursuing   bool             // a task is at it
	level      chan struct{}    // closed when that ends; nil: nobody waits for it
	giveUp     func()           // ends the task early; nil: there was none yet
	context    context.Context  // of reading for it; nil: nothing was read yet
	cancel     context.CancelFunc
	closed     bool // nothing is read for it any more
}

// recipient is whose delivery it is.
type recipient interface {
	owner
	// cursorFrame returns the frame of a cursor alone.
	cursorFrame(cursor string) []byte
}

func (d *delivery) setSubscriber(s *notifier.Subscriber) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscriber = s
}

func (d *delivery) setEncoder(e notifier.Encoder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.encoder = e
}

func (d *delivery) presentEncoder() notifier.Encoder {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.encoder
}

// joined says whether the client has said what it wants.
func (d *delivery) joined() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.subscriber != nil
}

// Queue takes a frame of events from the hub; see [notifier.Receiver].
func (d *delivery) Queue(frame []byte, events int, first *notifier.Event) (lost *notifier.Event) {
	if d.outbox.Queue(frame, events, first) || first == nil {
		return nil
	}
	if lost = d.outbox.Discard(); lost == nil {
		lost = first
	}
	return lost
}

// Flush writes what the socket takes at once.
func (d *delivery) Flush() { d.flush() }

// Behind has the client catch up.
func (d *delivery) Behind() { d.pursue(nil) }

// owed is what a client has to get before it catches up. It returns an error if
// that can't be had.
type owed func(ctx context.Context) error

// pursue has the client get what it is owed, and then catch up and be live. The
// caller sees to it that there is one at a time that owes something.
func (d *delivery) pursue(first owed) {
	d.mu.Lock()
	d.fallen = true
	if d.pursuing || d.closed {
		d.mu.Unlock()
		return
	}
	d.pursuing = true
	ctx, giveUp := context.WithCancel(d.whileOpenLocked())
	d.giveUp = giveUp
	d.mu.Unlock()
	if !d.owner.spawn(func() { d.chase(ctx, first) }) { // ends when the client is live, or with the connection
		d.rest()
	}
}

func (d *delivery) chase(ctx context.Context, first owed) {
	var err error
	if first != nil {
		err = first(ctx)
	}
	for err == nil {
		if !d.isFallen() {
			return // there may be another task by now
		}
		err = d.server.config.Hub.CatchUp(ctx, d.subscriber, func(chunk []notifier.Missed) error { return d.sendMissed(ctx, chunk) })
	}
	unwanted := ctx.Err() != nil
	d.rest()
	switch {
	case unwanted, errors.Is(err, notifier.ErrGone): // it is not wanted any more
	case errors.Is(err, notifier.ErrGap):
		d.owner.End(notifier.EndedByRetention)
	default:
		d.server.config.Logger.Warn("stored events could not be read", "user", d.subscriber.User(), "error", err)
		d.owner.End(notifier.EndedByOutage) // live after a hole would be wrong
	}
}

// isFallen says whether there is something to catch up with, and takes note that
// somebody sees to it; if not, nobody does any more.
func (d *delivery) isFallen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.fallen
	d.fallen = false
	if !was {
		d.restLocked()
	}
	return was
}

func (d *delivery) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restLocked()
}

func (d *delivery) restLocked() {
	if d.pursuing {
		d.giveUp()
	}
	d.pursuing = false
	if d.level != nil {
		close(d.level)
		d.level = nil
	}
}

// untilLive waits until the client has caught up.
func (d *delivery) untilLive(ctx context.Context) error {
	d.mu.Lock()
	if !d.pursuing {
		d.mu.Unlock()
		return nil
	}
	if d.level == nil {
		d.level = make(chan struct{})
	}
	level := d.level
	d.mu.Unlock()
	select {
	case <-level:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forget drops all that the client has not got. It must have been unsubscribed from.
func (d *delivery) forget() {
	d.mu.Lock()
	if d.pursuing {
		d.giveUp()
	}
	d.mu.Unlock()
	_ = d.untilLive(d.whileOpen()) // then nothing is sent any more, either
	d.outbox.Discard()
	if d.joined() {
		d.pursue(nil) // it may have been behind
	}
}

// whileOpen returns a context for reading from the log, which ends with the
// connection: who waits for its client must not wait for ever.
func (d *delivery) whileOpen() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.whileOpenLocked()
}

func (d *delivery) whileOpenLocked() context.Context {
	if d.context == nil {
		d.context, d.cancel = context.WithCancel(d.server.life)
	}
	if d.closed {
		d.cancel()
	}
	return d.context
}

// waiting returns what waits for the client.
func (d *delivery) waiting() (events, bytes int) { return d.outbox.Waiting() }

// close has nothing more be read for the client, nor sent by the hub.
func (d *delivery) close() {
	d.mu.Lock()
	s, cancel := d.subscriber, d.cancel
	d.closed = true
	d.mu.Unlock()
	if s != nil {
		d.server.config.Hub.Leave(s)
	}
	if cancel != nil {
		cancel()
	}
}

// sendMissed sends a chunk of what was missed, and returns when the client has
// taken it.
func (d *delivery) sendMissed(ctx context.Context, chunk []notifier.Missed) error {
	encoder := d.presentEncoder()
	for len(chunk) > 0 {
		frame, n := notifier.NextFrame(chunk, encoder)
		for frame != nil && !d.outbox.Queue(frame, n, chunk[0].Event) {
			d.flush()
			if err := d.outbox.WaitEvents(ctx); err != nil {
				return err
			}
		}
		chunk = chunk[n:]
	}
	d.flush()
	return d.outbox.WaitEvents(ctx)
}
