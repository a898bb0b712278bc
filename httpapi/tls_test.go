package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/certificate"
)

// setupTLS runs a server with TLS until the test ends.
func setupTLS(t *testing.T, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	cert, key, err := certificate.SelfSigned(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source, err := certificate.Open(certificate.Config{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := setupOn(t, tls.NewListener(plain, source.TLS()), adjust...)
	s.url = "https://" + s.addr
	return s
}

// trusting takes any certificate, and offers these protocols.
func trusting(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols} //nolint:gosec // the certificate is not what is tested
}

// dialTLS opens a WebSocket over TLS.
func (s *system) dialTLS(config *tls.Config) *client {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		s.t.Fatal(err)
	}
	c, status := s.upgrade(conn, "/subscribe_to_events")
	if status != http.StatusSwitchingProtocols {
		s.t.Fatalf("status %d", status)
	}
	return c
}

// asks sends a request by HTTP/2, and returns the answer's status and text.
func (s *system) asks(method, path, body string) (status int, text string, header http.Header) {
	s.t.Helper()
	transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil || answer.ProtoMajor != 2 {
		s.t.Errorf("%s %s: %v by %s", method, path, err, answer.Proto)
	}
	return answer.StatusCode, string(read), answer.Header
}

// WebSockets and HTTP/2 share a port: what is pushed by the one comes by the
// other, however large.
func TestTLS_WebSocketsBesideHTTP2(t *testing.T) {
	t.Parallel()
	s := setupTLS(t)
	var clients []*client
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		c := s.dialTLS(trusting(protocols...))
		c.text(`{"access_id":"c","timestamp":0}`)
		s.live(c)
		clients = append(clients, c)
	}
	for _, payload := range []string{`"x"`, `"` + strings.Repeat("large ", 100_000) + `"`, `[]`} {
		event := fmt.Sprintf(`[{"accessid":"c","created_at":1,"payload":%s}]`, payload)
		if status, text, _ := s.asks("POST", "/push_events", event); status != 200 || text != "true" {
			t.Fatalf("push: %d %q", status, text)
		}
		for _, c := range clients {
			c.expect(opText, event)
		}
	}
	if status, text, _ := s.asks("GET", "/clients", ""); status != 200 || text != "Connected clients:c " {
		t.Errorf("clients: %d %q", status, text)
	}
	if status, _, _ := s.asks("GET", "/nothing", ""); status != 404 {
		t.Errorf("nothing: %d", status)
	}
}

// HTTP/2 has no upgrade. Who tries is told so, with no header that HTTP/2
// forbids.
func TestTLS_NoWebSocketByHTTP2(t *testing.T) {
	t.Parallel()
	s := setupTLS(t)
	for _, path := range []string{"/subscribe_to_events", "/ws"} {
		for _, method := range []string{"GET", "POST"} {
			status, text, header := s.asks(method, path, "")
			if status != http.StatusHTTPVersionNotSupported || !strings.Contains(text, "HTTP/1.1") || header.Get("Upgrade")+header.Get("Connection") != "" {
				t.Errorf("%s %s: %d %q %v", method, path, status, text, header)
			}
		}
	}
}

// Who does not finish shaking hands keeps nobody waiting, and is put out.
func TestTLS_SlowHandshakes(t *testing.T) {
	t.Parallel()
	s := setupTLS(t, func(c *httpapi.Config) { c.RequestTimeout = 300 * time.Millisecond })
	var slow []net.Conn
	for _, sent := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01", "\x16\x03\x01\x02\x00\x01"} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	if status, _, _ := s.asks("GET", "/livez", ""); status != 200 {
		t.Errorf("beside slow handshakes: %d", status)
	}
	for i, conn := range slow {
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("handshake %d goes on: %v", i, err)
		}
	}
}

// A server that stops says goodbye over TLS too, and waits for the answer.
func TestTLS_Drain(t *testing.T) {
	t.Parallel()
	s := setupTLS(t)
	var clients []*client
	for range 5 {
		c := s.dialTLS(trusting())
		c.text(`{"access_id":"c","timestamp":0}`)
		s.live(c)
		clients = append(clients, c)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }() // ends when the server has
	for _, c := range clients {
		if code, reason := c.expectClose(); code != 1012 || !strings.HasPrefix(reason, "restarting; retry in ") {
			t.Errorf("closed with %d %q", code, reason)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// paced is a connection of a client that reads slowly.
type paced struct {
	net.Conn
	*time.Ticker
}

// Read waits for its time.
func (p paced) Read(b []byte) (int, error) {
	<-p.C
	return p.Conn.Read(b[:min(len(b), 8<<10)])
}

// A client that reads nothing is ended; one that reads slowly, for longer than
// that takes, gets all.
func TestTLS_ReadersOfAllSpeeds(t *testing.T) {
	t.Parallel()
	s := setupTLS(t, func(c *httpapi.Config) {
		c.WriteTimeout, c.CloseTimeout = 500*time.Millisecond, 500*time.Millisecond
		c.SendBuffer, c.PingInterval = 16<<10, time.Hour
	})
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	connect := func(user string) *client {
		c := s.dialTLS(trusting())
		_ = c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetReadBuffer(64 << 10)
		c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":0}`, user))
		s.live(c)
		return c
	}
	deaf, slow := connect("deaf"), connect("slow")
	payload := `"` + strings.Repeat("x", 1<<20-2) + `"`
	for second := range int64(2) {
		s.push(event("deaf", second, payload), event("slow", second, payload))
	}
	slow.in = bufio.NewReader(paced{slow.Conn, pace})
	for second := range int64(2) {
		slow.expect(opText, fmt.Sprintf(`[{"accessid":"slow","created_at":%d,"payload":%s}]`, second, payload))
	}
	until(t, "who reads nothing is ended", func() bool { return !slices.Contains(s.hub.Users(), "deaf") })
	_, _ = io.Copy(io.Discard, deaf) // ends, with or without a reset
	s.push(event("slow", 3, `1`))
	slow.expect(opText, `[{"accessid":"slow","created_at":3,"payload":1}]`)
}
