package httpapi

import (
	"net"
	"net/http"
	"sync/atomic"
)

// crowdedness bounds what HTTP keeps busy besides the WebSockets: sockets, of
// which each may wait for its next request, and requests, of which HTTP/2 has
// many on one socket.
type crowdedness struct {
	most     int64
	sockets  atomic.Int64
	requests atomic.Int64
}

// enter counts one more, unless there are enough.
func (c *crowdedness) enter(of *atomic.Int64) bool {
	if of.Add(1) > c.most {
		of.Add(-1)
		return false
	}
	return true
}

// sparing is a listener that closes at once what is too much, before TLS and
// HTTP have anything to do with it: what is said to so many would cost more than
// they may have.
type sparing struct {
	net.Listener
	server *Server
}

// Accept returns the next connection that there is room for.
func (l sparing) Accept() (net.Conn, error) {
	for {
		socket, err := l.Listener.Accept()
		if err != nil || l.server.busy.enter(&l.server.busy.sockets) {
			return socket, err
		}
		l.server.refusals.note(RefusedRequests)
		_ = plainSocket(socket).Close() // TLS would say goodbye
	}
}

// socketState counts a socket no more that is closed, or a WebSocket's.
func (s *Server) socketState(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		s.busy.sockets.Add(-1)
	}
}

// bounded lets only so many requests be served at once.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.busy.enter(&s.busy.requests) {
			s.turnAway(w, r, RefusedRequests)
			return
		}
		defer s.busy.requests.Add(-1)
		next.ServeHTTP(w, r)
	})
}
