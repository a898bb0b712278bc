package httpapi

import (
	"errors"
	"syscall"
)

// Most connections are silent most of the time, and each has a goroutine that
// waits for it to speak. Inside the WebSocket library it would wait with a stack
// of 4 KiB; here, a few calls deep, 2 KiB are enough. So it waits here until a
// message begins, and has that read and seen to on a stack that is given back.

// pongsAtOnce is how many pongs are taken in before it is looked whether the time
// for reading is over, which is how a connection is ended: a client may send
// them without a pause.
const pongsAtOnce = 64

// pongMax is the size of the longest pong: header, mask, and 125 bytes.
const pongMax = 2 + 4 + 125

// awaitMessage returns when the client says something that the library should
// read, or at once where that can't be told. It takes pongs in by itself: they
// come between messages, and the library would go on waiting behind one.
func (w *wire) awaitMessage() error {
	raw := w.conn.socket.raw
	if raw == nil || len(w.early) > 0 || w.buffered.Buffered() > 0 {
		return nil
	}
	for {
		var again bool
		err := raw.Read(func(fd uintptr) bool { // fails once the deadline has passed
			var ready bool
			ready, again = w.heard(fd)
			return ready
		})
		if err != nil {
			w.readErr = err
		}
		if err != nil || !again {
			return err
		}
	}
}

// heard looks at what has arrived, without waiting. Not ready means: nothing but
// pongs, wait for more; again: so far nothing but pongs, and there may be more.
func (w *wire) heard(fd uintptr) (ready, again bool) {
	var begin [pongMax]byte
	for range pongsAtOnce {
		n, err := peekFD(fd, begin[:])
		if errors.Is(err, syscall.EAGAIN) {
			return false, false
		}
		size := pongSize(begin[:max(n, 0)])
		if size == 0 {
			return true, false // a message, or an end or error that reading will meet again
		}
		if n, err := readFD(fd, begin[:size]); n != size || err != nil {
			return true, false // not to be expected
		}
		w.conn.socket.gave.Add(1)
	}
	return true, true
}

// pongSize returns the size of the pong that some bytes begin with, 0 if they
// begin with anything else, or only with a part of one.
func pongSize(begin []byte) int {
	const masked = 0x80
	if len(begin) < 2 || begin[0] != framePong || begin[1]&masked == 0 {
		return 0
	}
	size := 2 + 4 + int(begin[1]&^masked)
	if size > pongMax || size > len(begin) {
		return 0
	}
	return size
}
