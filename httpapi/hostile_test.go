package httpapi_test

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

func TestHostile_BrokenFrames(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxMessage = 1000 })
	unmasked := string([]byte{0x80 | opText, 2}) + "{}"
	for name, c := range map[string]struct {
		bytes string
		code  int
	}{
		"not masked":            {unmasked, 1008},
		"reserved bit":          {string(masked(0x80|0x40|opText, "{}")), 1002},
		"unknown opcode":        {string(masked(0x80|0x3, "{}")), 1002},
		"fragmented ping":       {string(masked(opPing, "x")), 1002},
		"long ping":             {string(masked(0x80|opPing, strings.Repeat("x", 126))), 1002},
		"long pong":             {string(masked(0x80|opPong, strings.Repeat("x", 126))), 1002},
		"pong not masked":       {string([]byte{0x80 | opPong, 0}), 1008},
		"stray continuation":    {string(masked(0x80|opContinuation, "{}")), 1002},
		"message in a message":  {string(masked(opText, "{")) + string(masked(0x80|opText, "}")), 1002},
		"close of one byte":     {string(masked(0x80|opClose, "x")), 1002},
		"close with 1006":       {string(masked(0x80|opClose, closePayload(1006, ""))), 1002},
		"too long":              {string(masked(0x80|opText, strings.Repeat(" ", 1100))), 1009},
		"too long in fragments": {strings.Repeat(string(masked(opText, strings.Repeat(" ", 600))), 1) + string(masked(opContinuation, strings.Repeat(" ", 600))), 1009},
		"announces 2^62 bytes":  {string(binary.BigEndian.AppendUint64([]byte{0x80 | opText, 0x80 | 127}, 1<<62)) + "mask" + strings.Repeat("x", 2000), 1009},
		"announces 2^63 bytes":  {string(binary.BigEndian.AppendUint64([]byte{0x80 | opText, 0x80 | 127}, 1<<63)) + "mask" + strings.Repeat("x", 2000), 1008},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := s.in(t).dial("/subscribe_to_events")
			if _, err := io.WriteString(client, c.bytes); err != nil {
				t.Fatal(err)
			}
			if code, reason := client.expectClose(); code != c.code {
				t.Errorf("closed with %d %q, want %d", code, reason, c.code)
			}
		})
	}
}

func TestHostile_HalfAFrameAndGone(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for range 20 {
		c := s.announce("c", 0)
		_, _ = c.Write(masked(0x80|opText, "half of this")[:9])
		_ = c.Conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
		_ = c.Close()
	}
	until(t, "all are forgotten", func() bool { return len(s.store.hub.Users()) == 0 })
}

// smallBuffers makes the kernel hold little, so that a client that does not read
// is felt soon.
func smallBuffers(c *httpapi.Config) { c.SendBuffer = 4096 }

// narrow subscribes with a small receive buffer.
func (s *system) narrow(user string) *client {
	s.t.Helper()
	c := s.dialNarrow("/subscribe_to_events")
	c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":0}`, user))
	s.live(c)
	return c
}

func (s *system) dialNarrow(path string, headers ...string) *client {
	s.t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if controlErr := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		}); controlErr != nil {
			return controlErr
		}
		return err
	}}
	conn, err := dialer.DialContext(s.t.Context(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	c, status := s.upgrade(conn, path, headers...)
	if status != 101 {
		s.t.Fatalf("status %d", status)
	}
	return c
}

// Whoever can't follow is served from the log when it reads again: it misses
// nothing, and nobody waits for it.
func TestSlowClient_OverflowMakesItAReader(t *testing.T) {
	t.Parallel()
	s := setup(t, smallBuffers, func(c *httpapi.Config) {
		c.Outbox = notifier.OutboxLimits{Events: 50}
	})
	slow, quick := s.narrow("all"), s.narrow("all")
	payload := `"` + strings.Repeat("x", 10_000) + `"`
	follow := func(c *client, i int) {
		t.Helper()
		got, err := c.read()
		if err != nil || !strings.Contains(got.payload, fmt.Sprintf(`"created_at":%d,`, i)) {
			t.Fatalf("event %d: %q, %v", i, short(got.payload), err)
		}
	}
	for i := range 200 {
		s.push(event("all", int64(i), payload))
		follow(quick, i)
	}
	for i := range 200 {
		follow(slow, i)
	}
	s.push(event("all", 200, payload)) // it is live again
	follow(slow, 200)
	follow(quick, 200)
}

// A kernel takes more for a client only when much of what it holds has gone: the
// client may read all the time and no write shows it.
func TestSlowClient_ThatReadsALittleIsNoDeadOne(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) {
		c.SendBuffer = 256 << 10
		c.PingInterval, c.WriteTimeout = 200*time.Millisecond, 400*time.Millisecond
	})
	c := s.narrow("all")
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	slow := newClient(t, paced{c.Conn, pace})
	payload := `"` + strings.Repeat("x", 10_000) + `"`
	for i := range 60 {
		s.push(event("all", int64(i), payload))
	}
	for i := range 60 {
		got, err := slow.readText()
		if err != nil || !strings.Contains(got.payload, fmt.Sprintf(`"created_at":%d,`, i)) {
			t.Fatalf("event %d: %q, %v", i, short(got.payload), err)
		}
	}
}

func TestSlowClient_ThatNeverReadsIsGivenUp(t *testing.T) {
	t.Parallel()
	s := setup(t, smallBuffers, func(c *httpapi.Config) {
		c.Outbox = notifier.OutboxLimits{Bytes: 100_000}
		c.WriteTimeout = 200 * time.Millisecond
		c.CloseTimeout = 50 * time.Millisecond
	})
	deaf := s.narrow("all")
	for i := range 30 {
		s.push(event("all", int64(i), `"`+strings.Repeat("x", 10_000)+`"`))
	}
	until(t, "it is forgotten", func() bool { return len(s.store.hub.Users()) == 0 })
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n, err := io.Copy(io.Discard, deaf.in); err == nil && n > 1<<20 {
		t.Errorf("%d bytes were in the kernel", n)
	}
}

// TestSlowClient_FramesStayWhole has one client take everything in small
// pieces, so that most writes are partial, while pings and pongs go between.
func TestSlowClient_FramesStayWhole(t *testing.T) {
	t.Parallel()
	s := setup(t, smallBuffers, func(c *httpapi.Config) { c.PingInterval = 20 * time.Millisecond })
	c := s.narrow("all")
	const events = 300
	for i := range events {
		s.push(event("all", int64(i), `"`+strings.Repeat(fmt.Sprint(i%10), i*37%9000)+`"`))
		if i%10 == 0 {
			c.send(0x80|opPing, fmt.Sprint(i))
		}
	}
	c.in.Reset(trickle{c.Conn})
	pongs := 0
	for next := 0; next < events || pongs < events/10; {
		got, err := c.read()
		if err != nil {
			t.Fatalf("before event %d: %v", next, err)
		}
		switch got.op {
		case opText:
			want := fmt.Sprintf(`[{"accessid":"all","created_at":%d,"payload":"%s"}]`, next, strings.Repeat(fmt.Sprint(next%10), next*37%9000))
			if got.payload != want {
				t.Fatalf("event %d came as %q", next, short(got.payload))
			}
			next++
		case opPong:
			pongs++
		case opPing:
		default:
			t.Fatalf("frame %d %q", got.op, short(got.payload))
		}
	}
}

// trickle reads a little at a time.
type trickle struct{ io.Reader }

func (r trickle) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 700)]) }

func TestHostile_PingFloodWithoutReading(t *testing.T) {
	t.Parallel()
	s := setup(t, smallBuffers, func(c *httpapi.Config) { c.CloseTimeout = 50 * time.Millisecond })
	c := s.narrow("all")
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	flood := []byte(strings.Repeat(string(masked(0x80|opPing, strings.Repeat("x", 125))), 100))
	for {
		if _, err := c.Write(flood); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the flood was neither taken nor cut off")
			}
			break
		}
	}
	until(t, "it is forgotten", func() bool { return len(s.store.hub.Users()) == 0 })
}

func TestHostile_PingFloodWithReadingIsServed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	c := s.announce("c", 0)
	const pings = 2000
	go func() { // ends when all are sent
		for i := range pings {
			_, _ = c.Write(masked(0x80|opPing, fmt.Sprint(i)))
		}
	}()
	for i := range pings {
		c.expect(opPong, fmt.Sprint(i))
	}
}

func TestLimit_Connections(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxConnections = 2 })
	first, _ := s.announce("a", 0), s.announce("b", 0)
	if _, status := s.tryDial("/subscribe_to_events"); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if status, _, _ := s.request("GET", "/livez", ""); status != 200 {
		t.Errorf("requests are refused too: %d", status)
	}
	first.send(0x80|opClose, closePayload(1000, ""))
	first.expectClose()
	until(t, "its place is free", func() bool {
		_, status := s.tryDial("/subscribe_to_events")
		return status == 101
	})
}

func TestLimit_FailedHandshakesTakeNoPlace(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxConnections = 1 })
	for range 3 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = fmt.Fprintf(conn, "GET /subscribe_to_events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n\r\n")
		if status := readStatus(t, conn); status != 400 {
			t.Errorf("status %d, want 400", status)
		}
	}
	s.dial("/subscribe_to_events")
}

func TestLimit_RequestsThatDoNotArrive(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.RequestTimeout = 100 * time.Millisecond })
	for name, begin := range map[string]string{
		"nothing": "", "half a header": "POST /push_events HTTP/1.1\r\nHost: localhost\r\n",
		"half a body": "POST /push_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[",
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, begin)
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "half a body" && !strings.Contains(string(answer), " 408 ") {
			t.Errorf("%s: answered %q", name, answer)
		}
	}
	if p := s.store.published(); len(p) > 0 {
		t.Errorf("stored %+v", p)
	}
	// The limit is for requests: a WebSocket lives on.
	c := s.announce("c", 0)
	s.request("GET", "/livez", "")
	s.live(c)
}

func TestLimit_BytesPushedAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxBody, c.MaxPushing = 1000, 1000 })
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "POST /push_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n[%s", strings.Repeat(" ", 800))
	until(t, "a second push finds no room", func() bool {
		status, _, text := s.request("POST", "/push_events", "["+strings.Repeat(" ", 300)+"]", asJSON)
		return status == 503 && strings.Contains(text, "nothing was stored")
	})
	_, _ = fmt.Fprint(conn, strings.Repeat(" ", 98)+"]")
	if status := readStatus(t, conn); status != 200 {
		t.Errorf("the first: %d", status)
	}
	until(t, "there is room again", func() bool {
		status, _, _ := s.request("POST", "/push_events", "["+strings.Repeat(" ", 300)+"]", asJSON)
		return status == 200
	})
}

func TestTLS_SocketsWithoutADescriptor(t *testing.T) {
	t.Parallel()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	config := &tls.Config{Certificates: certified.TLS.Certificates}
	certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := setupOn(t, tls.NewListener(l, config), smallBuffers)
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's own certificate
	if err != nil {
		t.Fatal(err)
	}
	c, status := s.upgrade(conn, "/subscribe_to_events")
	if status != 101 {
		t.Fatal(status)
	}
	c.text(`{"access_id":"c","timestamp":0}`)
	s.live(c)
	const events = 100
	for i := range events {
		s.push(event("c", int64(i), `"`+strings.Repeat("x", 30_000)+`"`))
	}
	for i := range events {
		c.expect(opText, fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":"%s"}]`, i, strings.Repeat("x", 30_000)))
	}
	c.send(0x80|opClose, closePayload(1000, "done"))
	if code, reason := c.expectClose(); code != 1000 || reason != "done" {
		t.Errorf("closed with %d %q", code, reason)
	}
}
