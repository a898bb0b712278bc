package httpapi

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/notifier/notifier"
)

// stream is one connection of Server-Sent Events: a receiver of the hub's. The
// goroutine of its request is its only writer, through net/http, so that it works
// over HTTP/2 and for whatever stands between.
//
// Its life: the handler subscribes, answers, and writes until End has had the last
// block queued, or nothing can be written any more.
type stream struct {
	delivery
	caller caller
	viewer notifier.Viewer
	wire   *http.ResponseController
	out    http.ResponseWriter
	queue  notifier.Outbox
	wake   chan struct{} // the writer looks again
	last   atomic.Bool   // the last block is queued
	born   birth
	remote string        // the client's address
	stops  []func() bool // what else waits to end it

	tasks sync.WaitGroup // everything but the handler

	mu      sync.Mutex
	gone    bool            // the handler has ended: no task may start
	ending  notifier.Ending // "": it goes on
	closeBy time.Time       // when all must be written; zero: it goes on
	writeBy time.Time       // when the write that is under way must be; zero: none is
	topics  map[*notifier.Subscription]string
}

func (s *Server) newStream(w http.ResponseWriter, who caller, user string) *stream {
	st := &stream{
		caller: who,
		viewer: notifier.Viewer{User: user, Admin: who.unrestricted()},
		wire:   http.NewResponseController(w),
		out:    w,
		wake:   make(chan struct{}, 1),
	}
	st.queue.Limits = s.config.Outbox
	st.delivery.server, st.owner = s, st
	st.outbox, st.flush = &st.queue, st.stir
	st.encoder = sse{s.cursors}
	return st
}

// stir has the writer look what there is to write.
func (st *stream) stir() {
	select {
	case st.wake <- struct{}{}:
	default: // it is going to
	}
}

// run writes until the last block is written, or nothing can be.
func (st *stream) run() {
	for {
		last := st.last.Load()
		if err := st.writeAll(); err != nil {
			st.decide(st.lossOfClient())
			return
		}
		if last {
			_ = st.wire.SetWriteDeadline(time.Now().Add(st.server.config.CloseTimeout)) // for the end of the answer
			return
		}
		<-st.wake
	}
}

// writeAll writes what the outbox holds. It keeps no buffer between events.
func (st *stream) writeAll() error {
	if !st.queue.Acquire() {
		return nil
	}
	var buffer []byte
	var frames [][]byte
	for {
		clear(frames)
		frames = st.queue.Next(frames[:0])
		if len(frames) == 0 {
			return nil
		}
		if len(frames) > 1 && buffer == nil {
			buffer = make([]byte, plainBatch)
		}
		p := join(buffer, frames)
		p = p[:min(len(p), plainWrite)]
		if err := st.write(p); err != nil {
			return err
		}
		st.queue.Wrote(len(p))
	}
}

// write has some bytes on their way to the client.
func (st *stream) write(p []byte) error {
	st.extend()
	_, err := st.out.Write(p)
	if err == nil {
		err = st.wire.Flush()
	}
	if err == nil {
		st.mu.Lock()
		st.writeBy = time.Time{}
		_ = st.wire.SetWriteDeadline(time.Time{}) // TLS and HTTP/2 would not outlive one that passes between
		st.mu.Unlock()
	}
	return err
}

// extend gives the next write its time: the server's own limit for answers does
// not count.
func (st *stream) extend() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.writeBy = time.Now().Add(st.server.config.WriteTimeout)
	if !st.closeBy.IsZero() && st.closeBy.Before(st.writeBy) {
		st.writeBy = st.closeBy
	}
	_ = st.wire.SetWriteDeadline(st.writeBy) // an error shows in the write
}

// lossOfClient returns why nothing can be written any more. The errors of a write
// don't tell, and the request's context ends over each of them: the time does.
func (st *stream) lossOfClient() notifier.Ending {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.writeBy.IsZero() && !time.Now().Before(st.writeBy) {
		return notifier.EndedBySlowness
	}
	return notifier.EndedByClient
}

// End ends the stream for that reason, unless it is ending already. It returns at
// once.
func (st *stream) End(reason notifier.Ending) {
	if st.decide(reason) {
		st.spawn(st.sayGoodbye) // ends when the last block is queued
	}
}

// decide settles why the stream ends, if nobody has yet.
func (st *stream) decide(reason notifier.Ending) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ending != "" {
		return false
	}
	st.ending = reason
	return true
}

func (st *stream) isEnding() (notifier.Ending, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.ending, st.ending != ""
}

// sayGoodbye queues the last block behind all others, and limits the time for
// them.
func (st *stream) sayGoodbye() {
	if reason, _ := st.isEnding(); reason == notifier.EndedByShutdown {
		st.markCursor() // for the next server
	}
	st.close()
	st.mu.Lock()
	reason := st.ending
	st.closeBy = time.Now().Add(st.server.config.CloseTimeout)
	_ = st.wire.SetWriteDeadline(st.closeBy) // also for a write that waits
	st.mu.Unlock()
	if reason == notifier.EndedBySlowness {
		st.queue.Discard()
	}
	st.queue.Finish(sseEnd(string(reason), closings[reason].reason, sseRetryAfter(reason)))
	st.last.Store(true)
	st.stir()
}

// spawn runs a task that the handler waits for.
func (st *stream) spawn(task func()) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return false
	}
	st.tasks.Go(task)
	return true
}

// part is for the handler's end: it returns when nothing uses the answer any more.
func (st *stream) part() {
	for _, stop := range st.stops {
		stop()
	}
	st.mu.Lock()
	st.gone = true
	st.mu.Unlock()
	st.close()
	st.server.connections.remove(st)
	st.tasks.Wait()
}

// ping moves the client's cursor on; if there is nothing to say, it says that.
func (st *stream) ping() {
	if !st.wantsCursors() || st.markCursor() > 0 || st.queue.Replies() > 0 {
		return
	}
	st.queue.Reply([]byte(sseComment))
	st.stir()
}

// endUnlessSubscribed does nothing: a stream begins with what it wants.
func (st *stream) endUnlessSubscribed(notifier.Ending) {}

func (st *stream) birth() *birth { return &st.born }

func (st *stream) cursorFrame(cursor string) []byte { return sseCursor(cursor) }

// Broken tells the client that the log is another one now.
func (st *stream) Broken(now notifier.Cursor) {
	st.queue.Reply(sseVerdict(verdict{word: verdictGap, cursor: st.server.cursorText(now)}))
	st.stir()
}

// Revoke tells the client that topics have ended. With the last of them, and if it
// is not who it was any more, so does the stream.
func (st *stream) Revoke(ended []*notifier.Subscription, lost notifier.Loss) {
	if lost == notifier.LostAccount {
		st.End(notifier.EndedByExpiry)
		return
	}
	st.mu.Lock()
	var topics []string
	for _, sub := range ended {
		if topic, ok := st.topics[sub]; ok {
			topics = append(topics, topic)
			delete(st.topics, sub)
		}
	}
	none := len(st.topics) == 0
	st.mu.Unlock()
	if len(topics) > 0 {
		st.queue.Reply(sseRevoked(topics))
		st.stir()
	}
	if none {
		st.End(notifier.EndedByAccess)
	}
}

// until has the stream end with its client's request, or with the token it rests on;
// zero: that never ends.
func (st *stream) until(request context.Context, expires time.Time) {
	st.stops = append(st.stops, context.AfterFunc(request, func() { st.End(st.lossOfClient()) }))
	if !expires.IsZero() {
		st.stops = append(st.stops, time.AfterFunc(time.Until(expires), func() { st.End(notifier.EndedByExpiry) }).Stop)
	}
}
