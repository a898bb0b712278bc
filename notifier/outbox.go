package notifier

import (
	"context"
	"sync"
)

// OutboxLimits bound what may wait for one client. Zero fields mean the
// defaults.
type OutboxLimits struct {
	Events int // default 4096
	Bytes  int // default 8 MiB
}

const (
	defaultOutboxEvents = 4096
	defaultOutboxBytes  = 8 << 20
	// batchFrames and batchBytes bound what one write takes.
	batchFrames = 512
	batchBytes  = 64 << 10
)

// Outbox is what waits to be written to one client: replies, which go first and
// are never dropped, and events, which are bounded. It does no writing itself:
// whoever acquires it writes until Next has nothing more. The zero Outbox is
// ready, with default limits. It is safe for use by several goroutines.
type Outbox struct {
	Limits OutboxLimits // not to be changed once in use

	mu      sync.Mutex
	replies lane
	events  lane
	held    bool
	ended   bool // nothing is taken any more
	busy    bool // somebody is the writer
	quiet   chan struct{}

	// The first flying frames of a lane are handed to the writer; of the very
	// first, the first written bytes are out.
	flying  int
	source  *lane
	written int
}

// Queue appends a frame that carries that many events, of which first is the
// first, nil if there are none. It returns false, and
// does not take the frame, if that would exceed a limit; a frame larger than
// the limit is taken by an outbox that has no other. After [Outbox.Finish] it
// returns true and the frame goes nowhere.
func (o *Outbox) Queue(frame []byte, events int, first *Event) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return true
	}
	if o.events.length > 0 && o.fullLocked(frame, events) {
		return false
	}
	o.events.push(queuedFrame{frame, events, first})
	return true
}

func (o *Outbox) fullLocked(frame []byte, events int) bool {
	maxEvents, maxBytes := o.Limits.Events, o.Limits.Bytes
	if maxEvents == 0 {
		maxEvents = defaultOutboxEvents
	}
	if maxBytes == 0 {
		maxBytes = defaultOutboxBytes
	}
	return o.events.events+events > maxEvents || o.events.bytes+len(frame) > maxBytes
}

// Reply appends a frame that answers the client or serves its replay. Replies
// go out before events, in order, and are never dropped: the caller bounds them
// by waiting with [Outbox.WaitReplies] before it makes more.
func (o *Outbox) Reply(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.replies.push(queuedFrame{frame: frame})
	}
}

// Replies returns how many replies are not yet written.
func (o *Outbox) Replies() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replies.length
}

// WaitReplies waits until every reply is written.
func (o *Outbox) WaitReplies(ctx context.Context) error {
	return o.wait(ctx, func() bool { return o.replies.length == 0 })
}

// WaitEvents waits until every event is written.
func (o *Outbox) WaitEvents(ctx context.Context) error {
	return o.wait(ctx, func() bool { return o.events.length == 0 })
}

// WaitEmpty waits until everything is written.
func (o *Outbox) WaitEmpty(ctx context.Context) error {
	return o.wait(ctx, func() bool { return o.replies.length == 0 && o.events.length == 0 })
}

func (o *Outbox) wait(ctx context.Context, doneLocked func() bool) error {
	for {
		o.mu.Lock()
		if doneLocked() {
			o.mu.Unlock()
			return nil
		}
		if o.quiet == nil {
			o.quiet = make(chan struct{})
		}
		quiet := o.quiet
		o.mu.Unlock()
		select {
		case <-quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Finish appends the last frame, after all others; whatever comes later is
// thrown away, and a second call does nothing. Events still held back are
// dropped: without the replay they wait for, they would leave a hole.
func (o *Outbox) Finish(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	if o.held {
		o.held = false
		o.discardLocked()
	}
	o.ended = true
	o.events.push(queuedFrame{frame: last})
}

// Hold keeps events back until Release, while a replay goes ahead of them.
func (o *Outbox) Hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = !o.ended // the last frame is not to be held back
}

// Release lets events go again.
func (o *Outbox) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = false
}

// Waiting returns the number of events and of their bytes in the queue.
func (o *Outbox) Waiting() (events, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events.events, o.events.bytes
}

// Discard drops every event that is not yet handed to the writer, and returns the
// first of them.
func (o *Outbox) Discard() (first *Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended { // the last frame stays
		return nil
	}
	return o.discardLocked()
}

func (o *Outbox) discardLocked() (first *Event) {
	keep := 0
	if o.source == &o.events {
		keep = o.flying
	}
	return o.events.truncate(keep)
}

// Acquire makes the caller the writer, if there is none and something to write.
// The writer calls Next and Wrote until Next returns nothing, which ends the
// role.
func (o *Outbox) Acquire() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy || !o.readyLocked() {
		return false
	}
	o.busy = true
	return true
}

func (o *Outbox) readyLocked() bool {
	return o.flying > 0 || o.replies.length > 0 || o.events.length > 0 && !o.held
}

// Next appends to dst the frames to be written now: first the rest of what was
// not written, then replies, then events. If there are none, it ends the role of
// writer and returns dst as it is.
func (o *Outbox) Next(dst [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flying == 0 {
		o.launchLocked()
	}
	if o.flying == 0 {
		o.busy = false
		return dst
	}
	first := len(dst)
	dst = o.source.peek(dst, o.flying)
	dst[first] = dst[first][o.written:]
	return dst
}

// launchLocked decides what is to be written next.
func (o *Outbox) launchLocked() {
	switch {
	case o.replies.length > 0:
		o.source = &o.replies
	case o.events.length > 0 && !o.held:
		o.source = &o.events
	default:
		o.source = nil
		return
	}
	o.flying = o.source.fitting(batchFrames, batchBytes)
}

// Wrote records that the first n bytes of what Next returned are written.
func (o *Outbox) Wrote(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n += o.written
	for o.flying > 0 && n >= o.source.head() {
		n -= o.source.head()
		o.source.pop()
		o.flying--
	}
	o.written = n
	if o.quiet != nil && (o.replies.length == 0 || o.events.length == 0) {
		close(o.quiet) // who waits looks whether it is what it waits for
		o.quiet = nil
	}
}
