package httpapi_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
)

// trickle writes a text byte by byte, one a second, until that fails or it is at
// its end, and returns how long that took.
func trickleInto(w io.Writer, text string) time.Duration {
	began := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := range len(text) {
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			break
		}
		<-ticker.C
	}
	return time.Since(began)
}

// Whoever sends a request a byte a second is cut off at the time that a header
// and a whole request may take; each byte gives it no more.
func TestArrival_OfARequest(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		limit   time.Duration
	}{
		"header": {"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + strings.Repeat("x", 1000), 10 * time.Second},
		"body": {"POST /push_events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n" +
			strings.Repeat(" ", 1000), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
				mine, theirs := net.Pipe()
				p.dialed <- theirs
				answered := make(chan string, 1)
				go func() { // ends when the server has closed
					answer, _ := io.ReadAll(mine)
					answered <- string(answer)
				}()
				var whole int
				if name == "body" { // the header comes at once
					whole, _ = io.WriteString(mine, test.request[:strings.Index(test.request, "    ")])
				}
				if after := trickleInto(mine, test.request[whole:]); after < test.limit-time.Second || after > test.limit+2*time.Second {
					t.Errorf("cut off after %v, want %v", after, test.limit)
				}
				_ = mine.Close()
				if answer := <-answered; name == "body" && !strings.HasPrefix(answer, "HTTP/1.1 408 ") {
					t.Errorf("answered %q", answer)
				}
			})
		})
	}
}

// A TLS handshake has as long as a header.
func TestArrival_OfATLSHandshake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		setupOn(t, secured{p})
		mine, theirs := net.Pipe()
		p.dialed <- theirs
		go func() { _, _ = io.Copy(io.Discard, mine) }() // ends when the server has closed
		hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 500)
		if after := trickleInto(mine, hello); after < 9*time.Second || after > 12*time.Second {
			t.Errorf("cut off after %v", after)
		}
		_ = mine.Close()
	})
}

// secured is a listener of TLS that never comes to show its certificate.
type secured struct{ *pipes }

// Accept wraps the next pipe.
func (s secured) Accept() (net.Conn, error) {
	c, err := s.pipes.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}), nil
}

// A message that arrives byte by byte, or in ever more fragments, is given up
// after one or two pings, although pongs come meanwhile. One that comes in time,
// however slowly, is taken.
func TestArrival_OfAMessage(t *testing.T) {
	long := string(masked(0x80|opText, strings.Repeat(" ", 500)))
	endless := string(masked(opText, "")) + strings.Repeat(string(masked(opContinuation, "")), 500)
	for name, trickled := range map[string]string{"byte by byte": long, "without end": endless} {
		t.Run(name, func(t *testing.T) {
			onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
				c := p.dial(s)
				ended := make(chan frame, 1)
				go func() { // ends with the close frame
					for {
						got, err := c.read()
						if err != nil || got.op == opClose {
							ended <- got
							_ = c.Close()
							return
						}
					}
				}()
				after := trickleInto(c, trickled)
				if got := <-ended; got != (frame{opClose, closePayload(1008, "message did not arrive in time")}) {
					t.Errorf("told %d %q", got.op, got.payload)
				}
				if after < 30*time.Second || after > 62*time.Second {
					t.Errorf("given up after %v", after)
				}
			}, func(c *httpapi.Config) { c.FirstMessage = time.Hour })
		})
	}
	t.Run("in time", func(t *testing.T) {
		onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
			c := p.dial(s)
			go func() { // ends when it is sent: 38 s
				trickleInto(c, string(masked(0x80|opText, `{"access_id":"c","timestamp":0}`)))
			}()
			c.expect(opPing, "1")
			<-time.After(20 * time.Second)
			synctest.Wait()
			s.push(event("c", 1, `"x"`))
			c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"x"}]`)
		}, func(c *httpapi.Config) { c.FirstMessage = time.Hour })
	})
}

// The same on a real socket, where the client answers every ping between its
// fragments.
func TestArrival_BetweenPongs(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.PingInterval = 100 * time.Millisecond })
	c := s.dial("/ws")
	c.send(opText, "{")
	for {
		got, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if got.op == opClose {
			if got.payload != closePayload(1008, "message did not arrive in time") {
				t.Errorf("told %q", got.payload)
			}
			return
		}
		_, _ = c.Write(masked(0x80|opPong, got.payload)) // it may be about to close
		_, _ = c.Write(masked(opContinuation, " "))
	}
}
