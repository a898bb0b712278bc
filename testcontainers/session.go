package testcontainers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

const (
	// maxFrame bounds what a client takes at once.
	maxFrame = 64 << 20
	// receiveBuffer is what the kernel may hold for a client that stalls: little, so that
	// the server notices.
	receiveBuffer = 16 << 10
)

// dialect is how clients of a protocol ask for events and get them.
type dialect interface {
	// dial connects.
	dial(ctx context.Context, s *session) error
	// begin asks, each topic from its cursor on, and returns once all is answered. What
	// comes in between is handed on.
	begin(ctx context.Context, s *session) (Verdict, error)
	// take hands a message on.
	take(s *session, message []byte) error
}

// A dialect without state; each session has its own lists.
var dialects = map[Protocol]dialect{Ernius: ernius{}, Airlay: airlay{}, DRP: drp{}, Sysadm: sysadm{}, SSE: sse{}}

// session is one connection of a client.
type session struct {
	*Subscriber
	base      string // URL of the server
	http      *http.Client
	transport *http.Transport
	gate      *gate
	ws        *websocket.Conn
	stream    io.ReadCloser // of SSE
	lines     *bufio.Scanner

	life     context.Context
	cancel   context.CancelFunc
	reading  sync.WaitGroup
	attached []string // topics, where each has a command of its own
	end      *End     // as the server told in a message
}

// open connects and subscribes.
func open(ctx context.Context, sub *Subscriber) (*session, Verdict, error) {
	s := &session{Subscriber: sub, base: sub.instance.URL(), gate: newGate()}
	s.life, s.cancel = context.WithCancel(context.Background())
	release := context.AfterFunc(ctx, s.cancel) // until it is open
	defer release()
	s.transport = &http.Transport{DialContext: s.dialSocket, DisableKeepAlives: true}
	s.http = &http.Client{Transport: bearer{s.transport, sub.token()}}
	if err := s.speaks.dial(ctx, s); err != nil {
		s.close()
		return nil, Verdict{}, err
	}
	verdict, err := s.speaks.begin(s.life, s)
	if err == nil && !release() {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.close()
		if ctx.Err() != nil {
			err = fmt.Errorf("notifier has not confirmed it in time: %w", context.Cause(ctx))
		}
		return nil, verdict, err
	}
	return s, verdict, nil
}

// bearer shows the token, if there is one, in each request.
type bearer struct {
	*http.Transport
	token string
}

// RoundTrip sends a request with the token.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.Transport.RoundTrip(r)
}

// dialWebSocket connects to a path.
func (s *session) dialWebSocket(ctx context.Context, path string) error {
	ws, answer, err := websocket.Dial(ctx, s.base+path, &websocket.DialOptions{HTTPClient: s.http})
	if err != nil {
		return refused(answer, err)
	}
	ws.SetReadLimit(maxFrame)
	s.ws = ws
	return nil
}

// refused puts what a server has said into the error.
func refused(answer *http.Response, err error) error {
	if answer == nil || answer.Body == nil {
		return err
	}
	defer answer.Body.Close()
	const most = 512
	text, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	return fmt.Errorf("the server answered %s: %s", answer.Status, bytes.TrimSpace(text))
}

// next reads a message.
func (s *session) next(ctx context.Context) ([]byte, error) {
	if s.ws != nil {
		_, message, err := s.ws.Read(ctx)
		return message, err
	}
	return s.nextBlock()
}

// send writes a message.
func (s *session) send(ctx context.Context, format string, arguments ...any) error {
	return s.ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, format, arguments...))
}

// follow reads until the connection ends; close waits for that.
func (s *session) follow() {
	s.reading.Go(func() {
		var err error
		for err == nil {
			var message []byte
			if message, err = s.next(s.life); err == nil {
				err = s.speaks.take(s, message)
			}
		}
		s.note(err)
	})
}

// note keeps how the connection ended.
func (s *session) note(err error) {
	end := End{Reason: err.Error()}
	if told, ok := errors.AsType[websocket.CloseError](err); ok {
		end = End{Code: int(told.Code), Reason: told.Reason}
	} else if s.end != nil {
		end = *s.end
	}
	s.change(func() {
		if s.Subscriber.session == s { // or it was the client that has left
			s.ended = &end
		}
	})
}

// close breaks the connection, and returns when nothing more is noted from it.
func (s *session) close() {
	s.cancel()
	s.gate.open()
	if s.ws != nil {
		_ = s.ws.CloseNow()
	}
	if s.stream != nil {
		s.stream.Close()
	}
	s.transport.CloseIdleConnections()
	s.reading.Wait()
}

// dialSocket connects to the server by a socket with a gate.
func (s *session) dialSocket(ctx context.Context, kind, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(receiveBuffer)
	}
	return gated{conn, s.gate}, nil
}

// gated is a socket that gives nothing while its gate is closed.
type gated struct {
	net.Conn
	gate *gate
}

// Read waits also with what it has read: that was before it knew of the gate.
func (g gated) Read(p []byte) (int, error) {
	g.gate.pass()
	n, err := g.Conn.Read(p)
	g.gate.pass()
	return n, err
}

// gate is open or closed.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *gate) pass() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	<-opened
}

func (g *gate) isOpenLocked() bool {
	select {
	case <-g.opened:
		return true
	default:
		return false
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isOpenLocked() {
		close(g.opened)
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOpenLocked() {
		g.opened = make(chan struct{})
	}
}
