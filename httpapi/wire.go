package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"net"
)

const (
	// wireReader is the read buffer of a connection: enough for the messages
	// that clients send; longer ones are read past it.
	wireReader = 128
	// wireWriter is the write buffer that the WebSocket library fills. It holds
	// a whole control frame (127 bytes), so each arrives here in one Write.
	wireWriter = 128
	// maxUnread is how many answers wait unwritten for a client before its next
	// message is read: one may ask for much in a row and read later.
	maxUnread = 32
	// maxReplies bounds the control frames that wait unwritten for a client: one
	// that sends pings and never reads would otherwise have us hold the pongs.
	maxReplies = 64
)

var errRepliesUnread = errors.New("too many unread replies")

// wire is the socket as the WebSocket library sees it. It reads from the
// socket; what it writes, which is control frames only, takes its turn in the
// outbox, so writing never waits.
type wire struct {
	net.Conn
	conn    *conn
	early   []byte // read together with the request
	readErr error  // what ended reading; nil if the library gave up by itself
	// buffered is what the library has read ahead.
	buffered *bufio.Reader
}

// Read reads from the socket.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.early) > 0 {
		n := copy(p, w.early)
		if w.early = w.early[n:]; len(w.early) == 0 {
			w.early = nil
		}
		return n, nil
	}
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.conn.socket.gave.Add(1)
	}
	if err != nil {
		w.readErr = err
	}
	return n, err
}

// Write queues a control frame. The library's close frame, which answers the
// client's or accuses it of breaking the protocol, ends the outbox.
func (w *wire) Write(frame []byte) (int, error) {
	if isClose(frame) {
		w.conn.socket.outbox.Discard() // who closes or breaks rules reads no more
		w.conn.socket.outbox.Finish(bytes.Clone(frame))
		w.conn.socket.flush()
		return len(frame), nil
	}
	if !w.conn.reply(bytes.Clone(frame)) {
		return 0, errRepliesUnread
	}
	return len(frame), nil
}

// Close does nothing: the connection closes its socket by itself, when the last
// frame is written.
func (w *wire) Close() error { return nil }
