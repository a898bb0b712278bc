package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// upgrade is where the WebSockets of a protocol begin, behind the door.
func (s *Server) upgrade(codec codec) http.HandlerFunc {
	traffic := s.counters.protocol(codec.name())
	return func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 { // where there is no upgrade to ask for
			refuse(w, http.StatusHTTPVersionNotSupported, "a WebSocket begins with an upgrade of HTTP/1.1")
			return
		}
		if !asksForWebSocket(r) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		who, err := s.authenticate(r)
		if err != nil && !errors.Is(err, errNoToken) { // with none, a message may bring one
			s.unauthorized(w, err, refuse)
			return
		}
		taken := placeOf(r)
		if !s.connections.belong(taken, who.countsNow()) {
			s.turnAway(w, r, RefusedPerUser)
			return
		}
		c := &conn{server: s, codec: codec, caller: who, admitted: who.admitted, peer: peerOf(r), place: taken, traffic: traffic}
		ws, err := websocket.Accept(&hijacker{w, c}, r, &websocket.AcceptOptions{
			InsecureSkipVerify: true, // the guard has checked the Origin
			CompressionMode:    websocket.CompressionDisabled,
		})
		if err != nil {
			return // the library has told the client
		}
		taken.kept = true
		go c.run(ws) // ends when nothing more can be read; its place in connections is waited for
	}
}

func asksForWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) &&
		headerHas(r.Header, "Connection", "upgrade") && headerHas(r.Header, "Upgrade", "websocket")
}

func headerHas(h http.Header, key, token string) bool {
	for _, value := range h.Values(key) {
		for element := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

// attach makes the connection the owner of the socket.
func (c *conn) attach(s net.Conn, early []byte) {
	if tcp, ok := plainSocket(s).(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(c.server.config.SendBuffer) // without it, the kernel's own limit holds
	}
	c.wire = &wire{Conn: s, conn: c, early: early}
	c.socket.net, c.socket.raw, c.socket.plain = s, rawConn(s), rawConn(plainSocket(s))
	c.socket.owner = c
	c.socket.timeout = c.server.config.WriteTimeout
	c.socket.outbox.Limits = c.server.config.Outbox
	c.delivery.server, c.owner, c.encoder = c.server, c, c.codec
	c.outbox, c.flush = &c.socket.outbox, c.socket.flush
}

// plainSocket returns what lies below TLS and the PROXY protocol.
func plainSocket(s net.Conn) net.Conn {
	for {
		switch wrapped := s.(type) {
		case interface{ NetConn() net.Conn }:
			s = wrapped.NetConn()
		case interface{ Raw() net.Conn }:
			s = wrapped.Raw()
		default:
			return s
		}
	}
}

// hijacker hands the WebSocket library a wire, and small buffers in place of
// those of net/http, which are returned with the request.
type hijacker struct {
	http.ResponseWriter
	conn *conn
}

// Hijack takes the connection over from the HTTP server.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	socket, standard, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take over connection: %w", err)
	}
	early, _ := standard.Reader.Peek(standard.Reader.Buffered()) // as many as there are
	h.conn.attach(socket, bytes.Clone(early))
	wire := h.conn.wire
	wire.buffered = bufio.NewReaderSize(wire, wireReader) // the library goes on with this one
	return wire, bufio.NewReadWriter(wire.buffered, bufio.NewWriterSize(wire, wireWriter)), nil
}
