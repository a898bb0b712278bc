package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
)

// stuck opens a WebSocket whose client asks for a user's events and never reads,
// so that the server can't even say goodbye.
func stuck(t *testing.T, address, user string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprint(conn, "GET /subscribe_to_events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	announcement := fmt.Appendf(nil, `{"access_id":%q,"timestamp":0}`, user)
	_, _ = conn.Write(append([]byte{0x81, 0x80 | byte(len(announcement)), 0, 0, 0, 0}, announcement...)) // a mask of zeros
}

// servingStuck starts a server that has clients who never read, with more waiting
// for them than the kernel takes, and one who does not finish its push.
func servingStuck(t *testing.T, args ...string) *process {
	t.Helper()
	p, at := serving(t, dbtest.New(t), append(args, "--send-buffer=4KiB")...)
	const clients = 5
	for n := range clients {
		stuck(t, p.address(), fmt.Sprint("u", n))
	}
	dbtest.Eventually(t, "all are known", func() bool {
		return strings.Count(text(t, at+"/clients"), "u") == clients
	})
	for n := range clients {
		for range 10 {
			event := fmt.Sprintf(`[{"accessid":"u%d","created_at":1,"payload":"%s"}]`, n, strings.Repeat("x", 500_000))
			answer, err := http.Post(at+"/push_events", "application/json", strings.NewReader(event))
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
		}
	}
	conn, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, "POST /push_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[")
	return p
}

// text asks for a page.
func text(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var read bytes.Buffer
	_, _ = read.ReadFrom(answer.Body)
	return read.String()
}

// However stuck its clients are, a server stops in the time of --drain and
// --close-timeout, with the exit code of one that was asked to.
func TestServe_StopsInTimeThoughClientsDoNotRead(t *testing.T) {
	t.Parallel()
	p := servingStuck(t, "--drain=1s", "--close-timeout=2s", "--write-timeout=1h", "--request-timeout=1h")
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("code %d", code)
	}
	// Three seconds but for a busy machine; who waited for what is stuck would do so for an hour.
	if after := time.Since(began); after < 2*time.Second || after > 20*time.Second {
		t.Errorf("stopped after %v", after)
	}
}

// Who is out of patience sends a second signal: it ends the process whatever it
// waits for, and says so by the exit code.
func TestServe_SecondSignalEndsAtOnceThoughClientsDoNotRead(t *testing.T) {
	t.Parallel()
	p := servingStuck(t, "--drain=1h", "--close-timeout=1h")
	p.signal(syscall.SIGTERM)
	at := "http://" + p.address()
	dbtest.Eventually(t, "readyz fails", func() bool { return status(t, at+"/readyz") == http.StatusServiceUnavailable })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitFailed {
		t.Errorf("code %d, want %d", code, exitFailed)
	}
	if after := time.Since(began); after > time.Minute {
		t.Errorf("ended after %v", after)
	}
	p.says(p.err, "second signal")
}
