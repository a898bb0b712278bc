package httpapi

import (
	"context"
	"errors"
	"slices"

	"example.com/notifier/notifier"
)

// newestOwed is a subscription whose newest stored event goes ahead of the
// answer. Only what its point covers does: the rest comes live.
type newestOwed struct {
	sub    *subscription
	filter notifier.Filter
	until  notifier.Point
}

// holdFor holds events back while these are subscribed to. Before a newest event,
// which goes ahead of them, what already waits is let out: it may be older events
// of the same type. It comes to an end, as the client takes it or is given up.
func (c *conn) holdFor(wants []want) (release func(), err error) {
	if !slices.ContainsFunc(wants, func(w want) bool { return w.latest }) {
		return c.hold(), nil
	}
	ctx := c.whileOpen()
	for {
		if c.untilLive(ctx) != nil || c.socket.outbox.WaitEmpty(ctx) != nil {
			return nil, notifier.ErrGone
		}
		release = c.hold()
		if waiting, _ := c.socket.outbox.Waiting(); waiting == 0 {
			return release, nil
		}
		release() // some came in this moment
	}
}

// sendNewest sends the newest event of each that the viewer may read. Each waits
// until the client has taken what went before, so that asking again and again
// makes no events pile up.
func (c *conn) sendNewest(owed []newestOwed, viewer notifier.Viewer) error {
	if len(owed) == 0 {
		return nil
	}
	ctx := c.whileOpen()
	for _, o := range owed {
		e, err := c.findNewest(ctx, o, viewer)
		if err == nil && e != nil {
			if err = c.socket.outbox.WaitReplies(ctx); err == nil {
				c.reply(c.encoder.Encode([]*notifier.Event{e}))
			}
		}
		switch {
		case ctx.Err() != nil:
			return notifier.ErrGone
		case errors.Is(err, notifier.ErrGone): // this one has ended already
		case err != nil:
			c.server.config.Logger.Warn("newest event could not be read", "user", viewer.User, "error", err)
			return errUnavailable
		}
	}
	return nil
}

// findNewest returns the newest event of a subscription; nil: there is none, as
// far as it is looked for.
func (c *conn) findNewest(ctx context.Context, o newestOwed, viewer notifier.Viewer) (found *notifier.Event, err error) {
	if err := take(ctx, c.server.places.reads); err != nil {
		return nil, err
	}
	defer give(c.server.places.reads)
	if !viewer.Admin { // what is for others is not worth a look
		o.filter.Recipient, o.filter.OrNobody = &viewer.User, true
	}
	err = c.server.config.Store.Latest(ctx, o.filter, o.until, func(events []*notifier.Event) (bool, error) {
		readable, err := c.server.config.Hub.Readable(ctx, o.sub.Subscription, events)
		if err != nil || len(readable) == 0 {
			return false, err
		}
		found = readable[0]
		return true, nil
	})
	return found, err
}
