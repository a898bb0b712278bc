package httpapi_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/httpapi"
)

// Sockets that are no WebSockets are bounded by themselves: who opens ever more
// and says nothing ends no WebSocket, and what is closed makes room.
func TestLimit_IdleSockets(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxRequests = 5 })
	c := s.dial("/ws") // it counts no more
	var idle []net.Conn
	for range 5 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		idle = append(idle, conn)
	}
	until(t, "one more is closed at once", func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, _ := io.ReadAll(io.LimitReader(conn, 1)) // closed, or reset
		return len(answer) == 0
	})
	if n := s.server.Refusals()[httpapi.RefusedRequests]; n == 0 {
		t.Error("not counted")
	}
	s.live(c)
	for _, conn := range idle {
		_ = conn.Close()
	}
	until(t, "there is room again", func() bool {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, _ := io.ReadAll(io.LimitReader(conn, 12))
		return strings.HasSuffix(string(answer), "200")
	})
}

// HTTP/2 has many requests on one socket; so many and no more are served at once,
// but for those that ask how the server is doing.
func TestLimit_RequestsAtOnce(t *testing.T) {
	t.Parallel()
	s := setupTLS(t, func(c *httpapi.Config) { c.MaxRequests = 3 })
	transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	h2 := &http.Client{Transport: transport, Timeout: patience}
	ask := func(method, path string, body io.Reader) (int, string, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := h2.Do(r)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text), answer.Header.Get("Retry-After")
	}
	var slow sync.WaitGroup
	var bodies []*io.PipeWriter
	for range 3 {
		body, feed := io.Pipe()
		bodies = append(bodies, feed)
		slow.Go(func() { // ends with its body
			if status, text, _ := ask("POST", "/push_events", body); status != 200 {
				t.Errorf("a push that was let in: %d %q", status, text)
			}
		})
		if _, err := fmt.Fprint(feed, "["); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one more is told to come again", func() bool {
		status, text, again := ask("GET", "/clients", nil)
		return status == 503 && strings.Contains(text, "too many requests") && again != ""
	})
	for _, path := range []string{"/livez", "/readyz"} {
		if status, _, _ := ask("GET", path, nil); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, feed := range bodies {
		_, _ = fmt.Fprint(feed, "]")
		_ = feed.Close()
	}
	slow.Wait()
	if status, _, _ := ask("GET", "/clients", nil); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

// A push that finds no room is told when to come again, and counted.
func TestLimit_PushesAreToldToComeAgain(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxBody, c.MaxPushing = 1000, 1000 })
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprintf(conn, "POST /push_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 990\r\n\r\n[%s", strings.Repeat(" ", 900))
	for _, path := range []string{"/push_events", "/api/v3/events"} {
		until(t, "a second push finds no room", func() bool {
			status, header, _ := s.request("POST", path, "["+strings.Repeat(" ", 300)+"]", asJSON)
			return status == 503 && header.Get("Retry-After") != ""
		})
	}
	if n := s.server.Refusals()[httpapi.RefusedPushing]; n < 2 {
		t.Errorf("%d counted", n)
	}
}
