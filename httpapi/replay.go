package httpapi

import (
	"context"
	"errors"

	"example.com/notifier/notifier"
)

const (
	// replayFrame bounds a frame of replayed events, in bytes; one larger event
	// is a frame of its own. A frame is made only when the one before is
	// written, so it also bounds the memory of a replay.
	replayFrame = 64 << 10
)

// startReplay has the stored events up to the point sent ahead of those the
// hub delivers, which wait in the outbox meanwhile.
func (c *conn) startReplay(sub *subscription, f notifier.Filter, until notifier.Point) {
	ctx, done := c.whileOpen()
	if !c.spawn(func() { // ends when all is sent, or with the connection
		defer done()
		c.replay(ctx, sub, f, until)
	}) {
		done()
	}
}

// whileOpen returns a context for reading from the store, which ends with the
// connection: who waits for its client must not wait for ever. There is one at a
// time, and done ends it.
func (c *conn) whileOpen() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopReading = cancel
	if c.ending != "" {
		cancel()
	}
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		cancel()
		c.stopReading = nil
	}
}

func (c *conn) replay(ctx context.Context, sub *subscription, f notifier.Filter, until notifier.Point) {
	err := c.server.places.replay(ctx, c.server.config.Store, f, until, func(events []*notifier.Event) error {
		readable, err := c.server.config.Hub.Readable(ctx, sub.Subscription, events)
		if err != nil {
			return err
		}
		return c.sendReplay(ctx, readable)
	})
	switch {
	case ctx.Err() != nil: // the connection ends
	case errors.Is(err, notifier.ErrGone): // the subscription has ended
		c.socket.outbox.Release()
		c.socket.flush()
	case err != nil:
		c.server.config.Logger.Warn("replay broken off", "user", c.subscriber.User(), "error", err)
		c.End(notifier.EndedByOutage) // what is held back stays so: live after a hole would be wrong
	default:
		c.socket.outbox.Release()
		c.socket.flush()
	}
}

// sendReplay sends a page in frames of bounded size, each when the one before
// is written.
func (c *conn) sendReplay(ctx context.Context, events []*notifier.Event) error {
	for len(events) > 0 {
		n := c.fitting(events)
		if err := c.socket.outbox.WaitReplies(ctx); err != nil {
			return err
		}
		c.socket.outbox.Reply(c.codec.Encode(events[:n]))
		c.socket.flush()
		events = events[n:]
	}
	return c.socket.outbox.WaitReplies(ctx)
}

// fitting returns how many events go into the next frame: at least one.
func (c *conn) fitting(events []*notifier.Event) int {
	if !c.codec.Joins() {
		return 1
	}
	size := 0
	for n, e := range events {
		size += len(e.Payload) + len(e.Original)
		if n > 0 && size > replayFrame {
			return n
		}
	}
	return len(events)
}

// places bounds replays in two ways: how many read from the store at once, and,
// a few times as many, how many hold a page of it, which most do because their
// client is slower than the store.
type places struct{ pages, reads chan struct{} }

const pagesPerRead = 8

func newPlaces(reads int) places {
	return places{make(chan struct{}, pagesPerRead*reads), make(chan struct{}, reads)}
}

// take waits for a place.
func take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// replay reads from the store when there is a place for it. While a page waits
// for its client, another replay may read.
func (p places) replay(ctx context.Context, store Store, f notifier.Filter, until notifier.Point, page func([]*notifier.Event) error) error {
	if err := take(ctx, p.pages); err != nil {
		return err
	}
	defer give(p.pages)
	if err := take(ctx, p.reads); err != nil {
		return err
	}
	reading := true
	defer func() {
		if reading {
			give(p.reads)
		}
	}()
	return store.Replay(ctx, f, until, func(events []*notifier.Event) error {
		give(p.reads)
		reading = false
		if err := page(events); err != nil {
			return err
		}
		err := take(ctx, p.reads)
		reading = err == nil
		return err
	})
}

func give(places chan struct{}) { <-places }
