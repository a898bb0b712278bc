//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// fakeServer accepts one client, upgrades it and hands it over behind its
// announcement.
func fakeServer(t *testing.T) (address string, accepted <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 1)
	go func() { // ends when it has upgraded a client, or with the listener
		conn, err := l.Accept()
		if err != nil {
			return
		}
		request, err := http.ReadRequest(bufio.NewReaderSize(conn, 16))
		if err != nil {
			conn.Close()
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			handshakeAnswer(request.Header.Get("Sec-WebSocket-Key")))
		announced := make([]byte, len(appendClient(nil, opText, []byte(`{"access_id":"me","timestamp":0}`))))
		if _, err := io.ReadFull(conn, announced); err != nil {
			conn.Close()
			return
		}
		conns <- conn
	}()
	return l.Addr().String(), conns
}

func newTestSwarm(t *testing.T, events int) (*swarm, net.Conn) {
	t.Helper()
	address, accepted := fakeServer(t)
	s, err := newSwarm(t.Context(), address, 1, ernius(func(int) string { return "me" }), newArrivals(events, 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	conn := <-accepted
	t.Cleanup(func() { conn.Close() })
	return s, conn
}

func TestSwarm_FrameInPieces(t *testing.T) {
	t.Parallel()
	s, conn := newTestSwarm(t, 3)
	frames := appendServerText(nil, appendEvent(nil, "me", 1, probe))
	list := bytes.Join([][]byte{appendEvent(nil, "me", 1, 1), appendEvent(nil, "me", 1, 2)}, []byte(","))
	frames = appendServerText(frames, list)
	frames = appendServerText(frames, appendEvent(nil, "me", 1, 3))
	for _, b := range frames {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.awaitProbes(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.awaitEvents(t.Context(), 3); err != nil {
		t.Error(err)
	}
	if got := s.bytes.Load(); got != int64(len(frames)) {
		t.Errorf("%d bytes were counted of %d", got, len(frames))
	}
}

func TestSwarm_AnswersPing(t *testing.T) {
	t.Parallel()
	_, conn := newTestSwarm(t, 1)
	if _, err := conn.Write([]byte{fin | opPing, 2, '4', '2'}); err != nil {
		t.Fatal(err)
	}
	pong := make([]byte, 8)
	if _, err := io.ReadFull(conn, pong); err != nil || !bytes.Equal(pong, appendClient(nil, opPong, []byte("42"))) {
		t.Errorf("the pong was %q, %v", pong, err)
	}
}

func TestSwarm_Fails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		frames []byte
		want   string
	}{
		"close frame": {[]byte{fin | opClose, 2, 3, 232}, "closed"},
		"twice":       {bytes.Repeat(appendServerText(nil, appendEvent(nil, "me", 1, 1)), 2), "twice"},
		"two probes":  {bytes.Repeat(appendServerText(nil, appendEvent(nil, "me", 1, probe)), 2), "twice"},
		"no event":    {appendServerText(nil, []byte("[]")), "no event"},
		"binary":      {[]byte{fin | 2, 0}, "opcode 2"},
		"masked":      {appendClient(nil, opText, []byte("x")), "masked"},
		"end":         {nil, "ended the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := newTestSwarm(t, 2)
			if _, err := conn.Write(c.frames); err != nil {
				t.Fatal(err)
			}
			if c.frames == nil {
				conn.Close()
			}
			if err := s.awaitEvents(t.Context(), 5); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("awaitEvents: %v, want %q", err, c.want)
			}
		})
	}
}

func TestNewSwarm_Refused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := newSwarm(t.Context(), l.Addr().String(), 3, ernius(func(int) string { return "me" }), newArrivals(1, 1)); err == nil {
		t.Error("a swarm connected to nobody")
	}
}

// TestLimit has the limit program write to a swarm, in each of its ways.
func TestLimit(t *testing.T) {
	t.Parallel()
	orders, ordersIn := io.Pipe()
	answersOut, answers := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- runLimit(orders, answers) }() // ends with its input
	address, err := readLine(answersOut)
	if err != nil {
		t.Fatal(err)
	}
	const clients = 7
	got := newSequence(clients, 1000)
	s, err := newSwarm(t.Context(), address, clients, ernius(func(int) string { return "all" }), got)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, o := range []order{
		{"single", clients, "all", 1, 10, 0},
		{"flat", clients, "all", 11, 3000, 1},
		{"flat", clients, "all", 3011, 20_000, coalesced},
	} {
		fmt.Fprintln(ordersIn, o.kind, o.clients, o.accessID, o.first, o.count, o.bytes)
		if answer, err := readLine(answersOut); err != nil || answer != "done" {
			t.Fatalf("%s: %q, %v", o.kind, answer, err)
		}
		total += clients * o.count
		if err := s.awaitEvents(t.Context(), int64(total)); err != nil {
			t.Fatalf("%s: %v", o.kind, err)
		}
	}
	if got.complete.Load() != 23 {
		t.Errorf("%d lists are complete", got.complete.Load())
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	ordersIn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLimit_BadOrder(t *testing.T) {
	t.Parallel()
	for _, orders := range []string{"single", "single 1 x 1 1 1", "dance 0 x 1 1 1"} {
		if err := runLimit(strings.NewReader(orders+"\n"), io.Discard); err == nil {
			t.Errorf("%q was obeyed", orders)
		}
	}
}
