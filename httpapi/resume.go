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

// wholeBacklog is how many missed events are held at once, so that they are looked
// for only once.
const wholeBacklog = 10_000

func (c *conn) parseCursor(cmd command) (*resumption, error) {
	if cmd.cursor == nil {
		return nil, nil
	}
	r := &resumption{text: *cmd.cursor}
	if r.text != "" {
		at, err := c.server.cursors.Parse(r.text)
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
	if r.from == nil {
		return nil
	}
	good, err := c.server.config.Store.Resumable(ctx, *r.from)
	if err == nil && good {
		reaching, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		err = c.server.config.Hub.Await(reaching, r.from.Point)
	}
	r.gap = !good
	return c.unavailable(ctx, err)
}

// unavailable translates what reading from the log fails with.
func (c *conn) unavailable(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return notifier.ErrGone
	}
	c.server.config.Logger.Warn("stored events could not be read", "user", c.subscriber.User(), "error", err)
	return errUnavailable
}

// wantCursors has the client's events carry cursors from now on.
func (c *conn) wantCursors() {
	if encoder, had := c.cursorEncoder(); !had {
		c.server.config.Hub.SetEncoder(c.subscriber, encoder)
	}
}

// cursorEncoder notes that the client wants cursors, and whether it did before.
func (c *conn) cursorEncoder() (encoder notifier.Encoder, had bool) {
	encoder = c.codec.cursors(c.server.cursors)
	c.setEncoder(encoder)
	c.mu.Lock()
	defer c.mu.Unlock()
	had, c.cursors = c.cursors, true
	return encoder, had
}

// findMissed returns the verdict on a cursor, and what the client is owed for it by
// its subscriptions, up to where live begins for them.
func (c *conn) findMissed(r *resumption, subs []*notifier.Subscription, here notifier.Cursor) (verdict, owed, error) {
	now := c.server.cursorText(here)
	switch {
	case r.gap:
		return verdict{word: verdictGap, cursor: now}, nil, nil
	case r.from == nil:
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	}
	c.busy.Store(true)
	defer c.busy.Store(false)
	ctx := c.whileOpen()
	var all []notifier.Missed
	count := 0
	err := c.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, func(chunk []notifier.Missed) error {
		if count += len(chunk); count <= wholeBacklog {
			all = append(all, chunk...)
		}
		return nil
	})
	switch {
	case errors.Is(err, notifier.ErrGap):
		return verdict{word: verdictGap, cursor: now}, nil, nil
	case errors.Is(err, notifier.ErrGone): // access was revoked in this moment
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	case err != nil:
		return verdict{}, nil, c.unavailable(ctx, err)
	case count == 0:
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	}
	v := verdict{word: verdictReplayed, replayed: count, cursor: r.text}
	if count <= wholeBacklog {
		return v, func(context.Context) error { return c.sendMissed(all) }, nil
	}
	return v, func(ctx context.Context) error {
		err := c.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, c.sendMissed)
		if errors.Is(err, notifier.ErrGone) {
			return nil
		}
		return err
	}, nil
}

// resumeAll has all that is subscribed to go on from a cursor, also what has come
// since the client subscribed, which it then gets again, with cursors.
func (c *conn) resumeAll(cmd command) (got result, err error) {
	r, err := c.parseCursor(cmd)
	if err != nil {
		return got, err
	}
	who, err := c.identify(cmd)
	if err != nil {
		return got, err
	}
	c.renew(who)
	c.join(cmd.user)
	if err := c.reach(r); err != nil {
		return got, err
	}
	release := c.hold()
	encoder, _ := c.cursorEncoder()
	subs, here, err := c.server.config.Hub.Halt(c.subscriber, encoder)
	if err != nil {
		release()
		return got, err
	}
	got.begin = func() { release(); c.pursue(nil) }
	verdict, first, err := c.findMissed(r, subs, here)
	if err != nil {
		return got, err
	}
	got.verdict = verdict
	got.begin = func() { release(); c.pursue(first) }
	return got, nil
}

// markCursor moves the cursor of a client on that has heard of nothing, and returns
// how many bytes that takes.
func (c *conn) markCursor() (size int) {
	c.mu.Lock()
	wants := c.cursors
	c.mu.Unlock()
	if wants {
		c.server.config.Hub.Mark(c.subscriber, func(at notifier.Cursor) []byte {
			frame := c.codec.cursorFrame(c.server.cursorText(at))
			size = len(frame)
			return frame
		})
	}
	return size
}

// Broken tells a client with cursors that the log is another one now.
func (c *conn) Broken(now notifier.Cursor) {
	c.mu.Lock()
	wants := c.cursors
	c.mu.Unlock()
	if wants {
		c.reply(c.codec.gapFrame(c.server.cursorText(now)))
	}
}

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
