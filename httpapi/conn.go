package httpapi

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"example.com/notifier/notifier"
	"github.com/coder/websocket"
)

// lingerBytes bounds what is read, and thrown away, of a client that broke the
// protocol, so that it sees our close frame and not a reset.
const lingerBytes = 1 << 20

// conn is one WebSocket of any protocol: a receiver of the hub's.
//
// Its life: the HTTP handler takes the socket over and starts run, which reads
// until nothing more can be read and then ends everything else. The first call
// of End decides why; it has the close frame sent and gives the client a time to
// answer, after which run's reading fails.
type conn struct {
	delivery
	server  *Server
	codec   codec
	traffic *protocolCounters
	caller  caller // who shook hands; nobody, if no token was shown
	// admitted is the caller's: it need not say soon what it wants, and the
	// connection lasts as long as what it has shown.
	admitted bool
	peer     peer
	place    *place
	paid     time.Duration // uptime until which its messages are paid; only the reader's
	vigil    vigil         // only the reader's
	wire     *wire
	socket   socket

	born          birth
	pings         uint32
	busy          atomic.Bool // its reader works for it, and does not listen
	gaveAtPing    uint32
	arrivedAtPing int64 // bytes that had reached the client before the last ping
	beat          int64 // the size of that, and of what else a heartbeat sends
	passedOver    int32 // heartbeats without a ping, for want of a sign of life

	arrival arrival // of the client's message

	tasks sync.WaitGroup // everything but run

	mu     sync.Mutex
	gone   bool            // run has ended: no task may start
	ending notifier.Ending // "": it goes on
	// subscriptions are those that are in force, by the codec's names.
	subscriptions map[string]*subscription
	weight        int                              // of all of them
	revoked       map[*notifier.Subscription]error // ended by the hub before they were recorded, and why
	leases        map[standing]*lease              // by what the tokens that were shown have made of it
}

// run serves the connection from its first byte to its last.
func (c *conn) run(ws *websocket.Conn) {
	defer c.server.connections.release(c.place)
	c.traffic.began()
	if !c.server.connections.add(c, c.server.uptime()) {
		c.End(notifier.EndedByShutdown)
	}
	if c.admitted {
		c.join(c.caller.User)
		c.renew(c.caller)
	}
	ws.SetReadLimit(c.server.config.MaxMessage)
	c.keepVigil()
	err := c.read(ws)
	c.vigil.stop()
	c.partWith(err)

	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.leave()
	c.stopLeases()
	c.server.connections.remove(c)
	_ = c.socket.net.Close() // wakes a writer that waits
	_ = ws.CloseNow()        // frees what the library holds
	c.tasks.Wait()
	c.server.counters.end(c.traffic, c.ending)
	c.server.config.Logger.Debug("connection ended", "reason", c.ending, "remote", c.wire.RemoteAddr(), "error", err)
}

// read hands the client's messages on until nothing more can be read.
func (c *conn) read(ws *websocket.Conn) error {
	for {
		if c.socket.outbox.Replies() >= maxUnread {
			_ = c.socket.outbox.WaitReplies(context.Background()) // a socket that takes nothing breaks in time
		}
		if err := c.wire.awaitMessage(); err != nil {
			return err
		}
		if err := c.readApart(ws); err != nil {
			return err
		}
		c.pay()
	}
}

// readApart has the next message read and seen to on a stack of its own, which
// is given back.
func (c *conn) readApart(ws *websocket.Conn) (err error) {
	var reading sync.WaitGroup
	reading.Go(func() { // ends before the next message is awaited
		var kind websocket.MessageType
		var message []byte
		kind, message, err = c.readMessage(ws)
		if err == nil && (kind == websocket.MessageText || c.codec.binary()) {
			c.receive(message)
		}
	})
	reading.Wait()
	return err
}

// partWith sees to the last frames after reading ended with that error.
func (c *conn) partWith(err error) {
	switch {
	case websocket.CloseStatus(err) != -1: // the answer is in the outbox
		c.decide(notifier.EndedByClient)
		ctx, cancel := context.WithTimeout(context.Background(), c.server.config.CloseTimeout)
		defer cancel()
		_ = c.socket.outbox.WaitEmpty(ctx) // then without an answer
	case c.wire.readErr == nil: // the client broke the protocol
		c.decide(notifier.EndedByProtocol)
		c.sayGoodbye()
		c.linger()
	default:
		c.decide(notifier.EndedByClient)
	}
}

// linger ends our half of a connection whose client broke the protocol, and
// throws away what it still sends until it closes its own or its time is over:
// closed at once, it would see a reset in place of our close frame.
func (c *conn) linger() {
	if half, ok := c.socket.net.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // then the client closes, or time does
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.socket.net, lingerBytes))
}

// reply sends a frame ahead of events; it ends the connection of a client that
// makes us answer and does not read.
func (c *conn) reply(frame []byte) bool {
	if c.socket.outbox.Replies() >= maxReplies {
		c.End(notifier.EndedBySlowness)
		return false
	}
	c.socket.outbox.Reply(frame)
	c.socket.flush()
	return true
}

// ping sends a ping, or ends a connection that has shown no life since the last
// one. Any byte from the client is a sign of life, and any byte that has reached it
// beyond that heartbeat: the pong may wait behind megabytes. Without any, a client
// whose kernel answers that it has no room may still be reading what it was given:
// that is for the write timeout to judge. Only the heartbeat calls it.
func (c *conn) ping() {
	if c.pings > 0 && c.isSilent() {
		c.passedOver++
		switch {
		case !c.socket.isHeldOff():
			c.End(notifier.EndedBySilence)
		case time.Duration(c.passedOver)*c.server.config.PingInterval >= c.server.config.WriteTimeout:
			c.End(notifier.EndedBySlowness)
		}
		return
	}
	c.passedOver = 0
	if c.arrival.takesTooLong() {
		c.End(notifier.EndedByTrickle)
		return
	}
	c.pings++
	frame := newPing(c.pings)
	c.gaveAtPing = c.socket.gave.Load()
	c.arrivedAtPing = c.socket.arrived()
	c.beat = int64(len(frame))
	c.reply(frame)
	c.beat += int64(c.markCursor())
}

// isSilent reports whether there was no sign of life since the last ping.
func (c *conn) isSilent() bool {
	return !c.busy.Load() && c.socket.gave.Load() == c.gaveAtPing && c.socket.arrived()-c.arrivedAtPing <= c.beat
}

// End ends the connection for that reason, unless it is ending already. It
// returns at once.
func (c *conn) End(reason notifier.Ending) {
	if c.decide(reason) {
		c.spawn(c.sayGoodbye) // ends when the close frame is written, or could not be in time
	}
}

// endUnlessSubscribed ends a connection that has not said what it wants, unless
// its protocol has times of its own.
func (c *conn) endUnlessSubscribed(reason notifier.Ending) {
	if _, ok := c.codec.(patient); ok {
		return
	}
	if !c.joined() {
		c.End(reason)
	}
}

func (c *conn) birth() *birth { return &c.born }

// decide settles why the connection ends, if nobody has yet.
func (c *conn) decide(reason notifier.Ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != "" {
		return false
	}
	c.ending = reason
	return true
}

func (c *conn) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending != ""
}

// spawn runs a task that run waits for.
func (c *conn) spawn(task func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return false
	}
	c.tasks.Go(task)
	return true
}

// sayGoodbye sends the close frame after all that is queued, and limits the time
// for the client's.
func (c *conn) sayGoodbye() {
	if c.ending == notifier.EndedByShutdown {
		c.markCursor() // for the next server
	}
	c.leave()
	if c.ending == notifier.EndedBySlowness {
		c.socket.outbox.Discard()
	}
	c.socket.outbox.Finish(newClose(closingFor(c.ending)))
	c.socket.flush()
	deadline := time.Now().Add(c.server.config.CloseTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := c.socket.outbox.WaitEmpty(ctx); err != nil {
		_ = plainSocket(c.socket.net).Close() // it does not read: run's reading fails
		return
	}
	_ = c.socket.net.SetReadDeadline(deadline) // a closed socket needs none
}

// leave has the hub and the replay forget the connection.
func (c *conn) leave() {
	c.close()
}
