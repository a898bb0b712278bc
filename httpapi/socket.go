package httpapi

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/notifier/notifier"
)

const (
	// batchSize is the most bytes of small frames that are put together for one
	// write.
	batchSize = 64 << 10
	// plainBatch is the same for a socket that is written by a goroutine which
	// may have to wait, and keeps its buffer meanwhile.
	plainBatch = 4 << 10
	// plainWrite is the most bytes of one such write: a deadline then tells a
	// slow peer from a dead one.
	plainWrite = 16 << 10
)

// owner is whom a socket belongs to.
type owner interface {
	// spawn runs a task that it waits for, unless it is already gone.
	spawn(task func()) bool
	// End ends the connection.
	End(reason notifier.Ending)
}

// socket writes what its outbox holds. Whoever queues something calls flush,
// which writes what the kernel takes at once and never waits. Only if the kernel
// does not take all, a goroutine is started for the rest, and ends with it.
type socket struct {
	outbox  notifier.Outbox
	net     net.Conn
	raw     syscall.RawConn // nil: it has no descriptor that could be written without waiting
	plain   syscall.RawConn // of the socket itself, below TLS; nil: it has none
	owner   owner
	timeout time.Duration // for the first byte of a write

	gave   atomic.Uint32 // how often bytes came from the peer
	took   atomic.Int64  // the bytes that the kernel took for the peer
	broken atomic.Bool   // nothing can be written any more: what is queued is thrown away
}

// arrived returns how many bytes have reached the peer, about: a kernel takes more
// only when much of what it holds has gone, so a slow peer may be at work for minutes
// before a write shows it.
func (s *socket) arrived() int64 { return s.took.Load() - int64(unacknowledged(s.plain)) }

// isHeldOff reports whether the peer's kernel lives and takes nothing: the client has
// not read yet what that holds.
func (s *socket) isHeldOff() bool { return unacknowledged(s.plain) > 0 && answers(s.plain) }

// flush writes, if nobody is writing already.
func (s *socket) flush() {
	if !s.outbox.Acquire() {
		return
	}
	if s.broken.Load() {
		s.discard()
		return
	}
	if s.raw == nil || !s.writeNow() {
		s.writeLater()
	}
}

// writeNow writes what the kernel takes without waiting. It returns false if
// something is left and the caller is still the writer.
func (s *socket) writeNow() (emptied bool) {
	a := attempts.Get().(*attempt)
	defer a.release()
	a.socket = s
	if err := s.raw.Write(a.once); err != nil || a.failed {
		s.fail()
		return true
	}
	return a.emptied
}

// writeLater has a goroutine write the rest.
func (s *socket) writeLater() {
	task := s.writePlain
	if s.raw != nil {
		task = s.writeWaiting
	}
	if !s.owner.spawn(task) { // ends when the outbox is empty, or the socket broken
		s.fail()
	}
}

// writeWaiting writes until the outbox is empty, waiting for the kernel to take
// more. It holds no buffer while it waits.
func (s *socket) writeWaiting() {
	a := attempts.Get().(*attempt)
	defer a.release()
	a.socket = s
	for {
		before := s.arrived()
		err := s.net.SetWriteDeadline(time.Now().Add(s.timeout))
		if err == nil {
			err = s.raw.Write(a.patiently)
		}
		// The deadline must not outlive the role of the writer: the next one
		// may write at once, and has none.
		err = errors.Join(err, s.net.SetWriteDeadline(time.Time{}))
		switch {
		case err == nil && a.emptied:
			return
		case a.failed:
			s.fail()
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			if s.arrived() <= before {
				s.owner.End(notifier.EndedBySlowness)
			}
		case err != nil:
			s.fail()
			return
		}
	}
}

// writePlain writes until the outbox is empty through a connection that is no
// plain socket, as of TLS. There, a write that was broken off has broken the
// connection: the peer can't tell what the rest of a record would have been.
func (s *socket) writePlain() {
	_, fragile := s.net.(*tls.Conn)
	buffer := make([]byte, plainBatch)
	var frames [][]byte
	for {
		clear(frames)
		frames = s.outbox.Next(frames[:0])
		if len(frames) == 0 {
			return
		}
		p := join(buffer, frames)
		p = p[:min(len(p), plainWrite)]
		n, err := s.writePatiently(p)
		// TLS also writes when it reads, at the client's wish to change keys, and
		// must not meet a deadline that has long passed.
		err = errors.Join(err, s.net.SetWriteDeadline(time.Time{}))
		s.took.Add(int64(n))
		s.outbox.Wrote(n)
		if err == nil {
			continue
		}
		late := errors.Is(err, os.ErrDeadlineExceeded)
		if late && (n == 0 || fragile) {
			s.owner.End(notifier.EndedBySlowness)
		}
		if !late || fragile {
			s.fail()
			return
		}
	}
}

// writePatiently writes within the time limit, which begins anew as long as anything
// reaches the peer.
func (s *socket) writePatiently(p []byte) (int, error) {
	var mu sync.Mutex
	var check *time.Timer
	written, before := false, s.arrived()
	mu.Lock()
	_ = s.net.SetWriteDeadline(time.Now().Add(s.timeout)) // an error shows in the write
	check = time.AfterFunc(s.timeout/2, func() {
		mu.Lock()
		defer mu.Unlock()
		if written {
			return
		}
		if now := s.arrived(); now > before {
			before = now
			_ = s.net.SetWriteDeadline(time.Now().Add(s.timeout))
		}
		check.Reset(s.timeout / 2)
	})
	mu.Unlock()
	n, err := s.net.Write(p)
	mu.Lock()
	defer mu.Unlock()
	written = true
	check.Stop()
	return n, err
}

// fail gives the socket up. The caller is the writer; closing the connection
// makes its reader end everything else, but it may be at work for the client, and
// that is for nothing now. TLS is not closed but cut off: it would wait for a peer
// that does not read to take a last word.
func (s *socket) fail() {
	s.broken.Store(true)
	_ = plainSocket(s.net).Close() // it is broken anyway
	s.discard()
	s.owner.End(notifier.EndedByClient)
}

// discard takes what is queued off the outbox as if it were written, so that
// nobody waits for it.
func (s *socket) discard() {
	var frames [][]byte
	for {
		clear(frames)
		frames = s.outbox.Next(frames[:0])
		if len(frames) == 0 {
			return
		}
		size := 0
		for _, frame := range frames {
			size += len(frame)
		}
		s.outbox.Wrote(size)
	}
}

// join returns the beginning of the frames as one piece: the first as it is if
// it is alone or would fill the buffer, else as much as the buffer holds.
func join(buffer []byte, frames [][]byte) []byte {
	if len(frames) == 1 || len(frames[0]) >= len(buffer) {
		return frames[0]
	}
	n := 0
	for _, frame := range frames {
		if n += copy(buffer[n:], frame); n == len(buffer) {
			break
		}
	}
	return buffer[:n]
}

// attempt is the state of writing to a descriptor, kept for reuse: its two
// callbacks are made once, so that a write allocates nothing.
type attempt struct {
	socket  *socket
	frames  [][]byte
	emptied bool // there was nothing left, and the role of the writer is over
	failed  bool
	// once and patiently are called with the descriptor; to return false is to
	// wait until it takes bytes, and be called again.
	once, patiently func(fd uintptr) bool
}

// attempts and buffers hold what is between two uses; they are shared by all
// servers and hold no state.
var (
	attempts = sync.Pool{New: func() any {
		a := &attempt{}
		a.once = func(fd uintptr) bool { a.write(fd); return true }
		a.patiently = a.write
		return a
	}}
	buffers = sync.Pool{New: func() any { return new([batchSize]byte) }}
)

func (a *attempt) release() {
	a.socket, a.emptied, a.failed = nil, false, false
	attempts.Put(a)
}

// write writes until the outbox is empty or the descriptor broken, then returns
// true, or until the kernel takes no more for now, then false.
func (a *attempt) write(fd uintptr) bool {
	buffer := buffers.Get().(*[batchSize]byte)
	defer buffers.Put(buffer)
	for {
		a.frames = a.socket.outbox.Next(a.frames[:0])
		a.emptied = len(a.frames) == 0
		if a.emptied {
			return true
		}
		n, err := writeFD(fd, join(buffer[:], a.frames))
		clear(a.frames) // the pool must not keep them alive
		if err != nil {
			a.failed = true
			return true
		}
		if n == 0 {
			return false
		}
		a.socket.took.Add(int64(n))
		a.socket.outbox.Wrote(n)
	}
}
