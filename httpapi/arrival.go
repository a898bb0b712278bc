package httpapi

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/coder/websocket"
)

// arrival is whether a message is arriving, and which: odd while one is. What
// has arrived of it is held, so a client must not take for ever to send the rest;
// the heartbeat looks, and the message needs no timer.
type arrival struct {
	count  atomic.Uint32
	atPing uint32 // only the heartbeat's
}

// takesTooLong reports whether the same message was arriving the last time.
func (a *arrival) takesTooLong() bool {
	last := a.atPing
	a.atPing = a.count.Load()
	return a.atPing == last && last%2 == 1
}

// readMessage reads a whole message.
func (c *conn) readMessage(ws *websocket.Conn) (websocket.MessageType, []byte, error) {
	kind, message, err := ws.Reader(context.Background()) // one without end costs no timer
	if err != nil {
		return 0, nil, err
	}
	c.arrival.count.Add(1)
	defer c.arrival.count.Add(1)
	text, err := io.ReadAll(message)
	return kind, text, err
}
