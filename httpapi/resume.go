package httpapi

import (
	"context"
	"errors"
	"strconv"
	"time"

	"example.com/notifier/notifier"
)

// verdict tells a client what has become of its cursor.
type verdict struct {
	word     string // "": none was asked for
	replayed int
	cursor   string // "": the first one comes later
}

// The verdicts. Replayed comes with the number of events that follow; gap says that
// what was missed is not known.
const (
	verdictResumed  = "resumed"
	verdictReplayed = "replayed"
	verdictGap      = "gap"
)

// resumption is a client's wish for cursors.
type resumption struct {
	text string
	from *notifier.Cursor // nil: from now on
	gap  bool             // there is no way to go on there
}

// reachTimeout bounds waiting for the hub to come to a cursor.
const reachTimeout = 10 * time.Second

// wholeBacklog and wholeBacklogBytes are how much of what was missed is held at
// once, so that it is looked for only once: less than may wait in an outbox.
const (
	wholeBacklog      = 1000
	wholeBacklogBytes = 1 << 20
)

// parseCursor reads what a client has kept; nil: it wants no cursors.
func (s *Server) parseCursor(text *string) (*resumption, error) {
	if text == nil {
		return nil, nil
	}
	r := &resumption{text: *text}
	if r.text != "" {
		at, err := s.cursors.Parse(r.text)
		if err != nil {
			return nil, errBadCursor
		}
		r.from = &at
	}
	return r, nil
}

// reach returns when what is wanted can be subscribed to: when the client is live,
// and the hub not before the cursor.
func (c *conn) reach(r *resumption) error {
	if r == nil {
		return nil
	}
	c.busy.Store(true)
	defer c.busy.Store(false)
	ctx := c.whileOpen()
	if c.untilLive(ctx) != nil {
		return notifier.ErrGone
	}
	return c.await(ctx, r)
}

// await returns when the hub is not before the cursor, or when it is known that
// there is no way to go on there.
func (d *delivery) await(ctx context.Context, r *resumption) error {
	if r.from == nil {
		return nil
	}
	good, err := d.server.config.Store.Resumable(ctx, *r.from)
	if err == nil && good {
		reaching, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		err = d.server.config.Hub.Await(reaching, r.from.Point)
	}
	r.gap = !good
	return d.unavailable(ctx, err)
}

// unavailable translates what reading from the log fails with.
func (d *delivery) unavailable(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return notifier.ErrGone
	}
	d.server.config.Logger.Warn("stored events could not be read", "user", d.subscriber.User(), "error", err)
	return errUnavailable
}

// encodeCursors has the client's events carry cursors from now on.
func (c *conn) encodeCursors() {
	if encoder := c.codec.cursors(c.server.cursors); c.encoder != encoder {
		c.setEncoder(encoder)
		c.server.config.Hub.SetEncoder(c.subscriber, encoder)
	}
}

// wantCursors notes that the client is to be told of cursors alone, too. Before the
// hub knows where the client is, that would be one behind what it is still to get.
func (d *delivery) wantCursors() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cursors = true
}

func (d *delivery) wantsCursors() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cursors
}

// findMissed returns the verdict on a cursor, and what the client is owed for it by
// its subscriptions, up to where live begins for them.
func (d *delivery) findMissed(r *resumption, subs []*notifier.Subscription, here notifier.Cursor) (verdict, owed, error) {
	now := d.server.cursorText(here)
	switch {
	case r.gap:
		return verdict{word: verdictGap, cursor: now}, nil, nil
	case r.from == nil:
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	}
	ctx := d.whileOpen()
	var all []notifier.Missed
	count, size := 0, 0
	err := d.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, func(chunk []notifier.Missed) error {
		count += len(chunk)
		for _, m := range chunk {
			size += len(m.Payload) + len(m.Original)
		}
		if all = append(all, chunk...); count > wholeBacklog || size > wholeBacklogBytes {
			all = nil
		}
		return nil
	})
	switch {
	case errors.Is(err, notifier.ErrGap):
		return verdict{word: verdictGap, cursor: now}, nil, nil
	case errors.Is(err, notifier.ErrGone): // access was revoked in this moment
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	case err != nil:
		return verdict{}, nil, d.unavailable(ctx, err)
	case count == 0:
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	}
	v := verdict{word: verdictReplayed, replayed: count, cursor: r.text}
	if all != nil {
		return v, func(ctx context.Context) error { return d.sendMissed(ctx, all) }, nil
	}
	return v, func(ctx context.Context) error {
		err := d.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, func(chunk []notifier.Missed) error { return d.sendMissed(ctx, chunk) })
		if errors.Is(err, notifier.ErrGone) {
			return nil
		}
		return err
	}, nil
}

// lookForMissed is findMissed for the reader, who does not listen meanwhile.
func (c *conn) lookForMissed(r *resumption, subs []*notifier.Subscription, here notifier.Cursor) (verdict, owed, error) {
	c.busy.Store(true)
	defer c.busy.Store(false)
	return c.findMissed(r, subs, here)
}

// resumeAll has all that is subscribed to go on from a cursor, also what has come
// since the client subscribed, which it then gets again, with cursors.
func (c *conn) resumeAll(cmd command) (got result, err error) {
	r, err := c.server.parseCursor(cmd.cursor)
	if err != nil {
		return got, err
	}
	who, err := c.identify(cmd)
	if err != nil {
		return got, err
	}
	c.renew(who)
	c.join(cmd.user)
	subs, here, release, err := c.halt(r)
	if err != nil {
		return got, err
	}
	c.wantCursors()
	got.begin = func() { release(); c.pursue(nil) }
	verdict, first, err := c.lookForMissed(r, subs, here)
	if err != nil {
		return got, err
	}
	got.verdict = verdict
	got.begin = func() { release(); c.pursue(first) }
	return got, nil
}

// halt has the client get nothing more by itself, once it is live, and what it then
// gets carry cursors.
func (c *conn) halt(r *resumption) (subs []*notifier.Subscription, here notifier.Cursor, release func(), err error) {
	encoder := c.codec.cursors(c.server.cursors)
	for range maxPermitTries {
		if err = c.reach(r); err != nil {
			return nil, here, nil, err
		}
		release = c.hold()
		subs, here, err = c.server.config.Hub.Halt(c.subscriber, encoder)
		if err == nil {
			c.setEncoder(encoder)
			return subs, here, release, nil
		}
		release()
		if !errors.Is(err, notifier.ErrBehind) {
			return nil, here, nil, err
		}
		time.Sleep(fallPause)
	}
	return nil, here, nil, errUnavailable
}

// markCursor moves the cursor of a client on that has heard of nothing; it returns
// how many bytes that takes, 0: there was no new one.
func (d *delivery) markCursor() (size int) {
	if d.wantsCursors() {
		d.server.config.Hub.Mark(d.subscriber, func(at notifier.Cursor) []byte {
			frame := d.owner.cursorFrame(d.server.cursorText(at))
			size = len(frame)
			return frame
		})
	}
	return size
}

// Broken tells a client with cursors that the log is another one now.
func (c *conn) Broken(now notifier.Cursor) {
	if c.wantsCursors() {
		c.reply(c.codec.gapFrame(c.server.cursorText(now)))
	}
}

func (c *conn) cursorFrame(cursor string) []byte { return c.codec.cursorFrame(cursor) }

// appendCursor appends the cursor behind an event as JSON; null: it has none, as it
// was not read in the log's order.
func appendCursor(dst []byte, signer *notifier.CursorSigner, e *notifier.Event) []byte {
	at, ok := e.Cursor()
	if !ok {
		return append(dst, "null"...)
	}
	dst = signer.Append(append(dst, '"'), at)
	return append(dst, '"')
}

// parseCursorMember reads a cursor in a message; what is no string is no cursor
// either, and null is none.
func parseCursorMember(value []byte) *string {
	if string(value) == "null" {
		return nil
	}
	text, ok := parseString(value)
	if !ok {
		text = "?" // an error, and not the wish to begin now
	}
	return &text
}

// appendVerdict appends the members of a verdict.
func appendVerdict(dst []byte, v verdict) []byte {
	dst = appendString(append(dst, `"verdict":`...), v.word)
	dst = append(dst, `,"replayed":`...)
	return strconv.AppendInt(dst, int64(v.replayed), 10)
}

func (s *Server) cursorText(at notifier.Cursor) string { return s.cursors.Text(at) }
