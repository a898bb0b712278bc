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

// replaySince is what is stored, by its time, up to the point where live begins. It
// has no cursors: its order is not that of the log. Whoever wants them gets the
// first one behind it.
func (c *conn) replaySince(sub *notifier.Subscription, f notifier.Filter, here notifier.Cursor) owed {
	return func(ctx context.Context) error {
		err := c.server.places.replay(ctx, c.server.config.Store, f, here.Point, func(events []*notifier.Event) error {
			readable, err := c.server.config.Hub.Readable(ctx, sub, events)
			if err != nil {
				return err
			}
			return c.sendReplay(ctx, readable)
		})
		if errors.Is(err, notifier.ErrGone) { // the subscription has ended; others may go on
			return nil
		}
		if err == nil && c.cursors {
			c.Queue(c.codec.cursorFrame(c.server.cursorText(here)), 0, nil)
		}
		return err
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
		c.socket.outbox.Reply(c.encoder.Encode(events[:n]))
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
