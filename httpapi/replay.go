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
//
// The filters are those of one viewer, and the subscription is any of them.
func (d *delivery) replaySince(sub *notifier.Subscription, filters []notifier.Filter, here notifier.Cursor) owed {
	return func(ctx context.Context) error {
		err := d.server.places.replay(ctx, d.server.config.Store, filters, here.Point, func(events []*notifier.Event) error {
			readable, err := d.server.config.Hub.Readable(ctx, sub, events)
			if err != nil {
				return err
			}
			return d.sendReplay(ctx, readable)
		})
		if errors.Is(err, notifier.ErrGone) { // the subscription has ended; others may go on
			return nil
		}
		if err == nil && d.wantsCursors() {
			d.outbox.Reply(d.owner.cursorFrame(d.server.cursorText(here)))
			d.flush()
		}
		return err
	}
}

// sendReplay sends a page in frames of bounded size, each when the one before
// is written.
func (d *delivery) sendReplay(ctx context.Context, events []*notifier.Event) error {
	for len(events) > 0 {
		n := d.fitting(events)
		if err := d.outbox.WaitReplies(ctx); err != nil {
			return err
		}
		d.outbox.Reply(d.presentEncoder().Encode(events[:n]))
		d.flush()
		events = events[n:]
	}
	return d.outbox.WaitReplies(ctx)
}

// fitting returns how many events go into the next frame: at least one.
func (d *delivery) fitting(events []*notifier.Event) int {
	if !d.presentEncoder().Joins() {
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
func (p places) replay(ctx context.Context, store Store, filters []notifier.Filter, until notifier.Point, page func([]*notifier.Event) error) error {
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
	return store.Replay(ctx, filters, until, func(events []*notifier.Event) error {
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
