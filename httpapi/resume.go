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
	return encoder, c.askForCursors()
}

// askForCursors notes that the client wants them, and returns whether it did before.
func (d *delivery) askForCursors() (had bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	had, d.cursors = d.cursors, true
	return had
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
	count := 0
	err := d.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, func(chunk []notifier.Missed) error {
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
		return verdict{}, nil, d.unavailable(ctx, err)
	case count == 0:
		return verdict{word: verdictResumed, cursor: now}, nil, nil
	}
	v := verdict{word: verdictReplayed, replayed: count, cursor: r.text}
	if count <= wholeBacklog {
		return v, func(context.Context) error { return d.sendMissed(all) }, nil
	}
	return v, func(ctx context.Context) error {
		err := d.server.config.Hub.Missed(ctx, subs, *r.from, here.Point, d.sendMissed)
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
	verdict, first, err := c.lookForMissed(r, subs, here)
	if err != nil {
		return got, err
	}
	got.verdict = verdict
	got.begin = func() { release(); c.pursue(first) }
	return got, nil
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
