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
	writing [][]byte // handed to the writer; the head may be half written
	replies [][]byte
	events  []queuedFrame
	held    bool
	ended   bool // nothing is taken any more
	busy    bool // somebody is the writer
	waiting int  // events in the queue
	bytes   int  // of the queued event frames
	quiet   chan struct{}
}

type queuedFrame struct {
	frame  []byte
	events int
}

// Queue appends a frame that carries that many events. It returns false, and
// does not take the frame, if that would exceed a limit; a frame larger than
// the limit is taken by an outbox that has no other. After [Outbox.Finish] it
// returns true and the frame goes nowhere.
func (o *Outbox) Queue(frame []byte, events int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return true
	}
	if len(o.events) > 0 && o.fullLocked(frame, events) {
		return false
	}
	o.events = append(o.events, queuedFrame{frame, events})
	o.waiting += events
	o.bytes += len(frame)
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
	return o.waiting+events > maxEvents || o.bytes+len(frame) > maxBytes
}

// Reply appends a frame that answers the client or serves its replay. Replies
// go out before events, in order, and are never dropped: the caller bounds them
// by waiting with [Outbox.WaitReplies] before it makes more.
func (o *Outbox) Reply(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.replies = append(o.replies, frame)
	}
}

// Replies returns how many replies are not yet handed to the writer.
func (o *Outbox) Replies() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.replies)
}

// WaitReplies waits until every reply is written.
func (o *Outbox) WaitReplies(ctx context.Context) error {
	return o.wait(ctx, func() bool { return len(o.replies) == 0 && len(o.writing) == 0 })
}

// WaitEmpty waits until everything is written.
func (o *Outbox) WaitEmpty(ctx context.Context) error {
	return o.wait(ctx, func() bool { return len(o.replies) == 0 && len(o.writing) == 0 && len(o.events) == 0 })
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
	o.events = append(o.events, queuedFrame{last, 0})
	o.bytes += len(last)
}

// Hold keeps events back until Release, while a replay goes ahead of them.
func (o *Outbox) Hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = true
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
	return o.waiting, o.bytes
}

// Discard drops every event that is not yet handed to the writer.
func (o *Outbox) Discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended { // the last frame stays
		o.discardLocked()
	}
}

func (o *Outbox) discardLocked() { o.events, o.waiting, o.bytes = nil, 0, 0 }

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
	return len(o.writing) > 0 || len(o.replies) > 0 || len(o.events) > 0 && !o.held
}

// Next appends to dst the frames to be written now: first the rest of what was
// not written, then replies, then events. If there are none, it ends the role of
// writer and returns dst as it is.
func (o *Outbox) Next(dst [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.writing) == 0 {
		o.fillLocked()
	}
	if len(o.writing) == 0 {
		o.busy = false
	}
	return append(dst, o.writing...)
}

func (o *Outbox) fillLocked() {
	size := 0
	n := 0
	for n < len(o.replies) && o.roomLocked(size) {
		o.writing = append(o.writing, o.replies[n])
		size += len(o.replies[n])
		n++
	}
	o.replies = cut(o.replies, n)
	if o.held {
		return
	}
	n = 0
	for n < len(o.events) && o.roomLocked(size) {
		next := o.events[n]
		o.writing = append(o.writing, next.frame)
		size += len(next.frame)
		o.waiting -= next.events
		o.bytes -= len(next.frame)
		n++
	}
	o.events = cut(o.events, n)
}

func (o *Outbox) roomLocked(size int) bool {
	return len(o.writing) < batchFrames && size < batchBytes
}

// cut drops the first n of a queue. An empty queue gives its memory back: most
// clients are idle most of the time.
func cut[T any](queue []T, n int) []T {
	if n == len(queue) {
		return nil
	}
	clear(queue[:n])
	return queue[n:]
}

// Wrote records that the first n bytes of what Next returned are written.
func (o *Outbox) Wrote(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := 0
	for done < len(o.writing) && n >= len(o.writing[done]) {
		n -= len(o.writing[done])
		done++
	}
	o.writing = cut(o.writing, done)
	if len(o.writing) > 0 {
		o.writing[0] = o.writing[0][n:]
		return
	}
	if len(o.replies) == 0 && o.quiet != nil {
		close(o.quiet)
		o.quiet = nil
	}
}
