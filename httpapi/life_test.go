package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
)

// pipes is a listener whose connections are pipes in memory, so that a test can
// run on fake time.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

// Accept returns the server's end of the next pipe.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// Addr returns an address that looks like loopback.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

// dial returns a WebSocket over a pipe, with no deadline.
func (p *pipes) dial(s *system) *client {
	s.t.Helper()
	mine, theirs := net.Pipe()
	p.dialed <- theirs
	c, status := s.upgrade(mine, "/subscribe_to_events")
	if status != 101 {
		s.t.Fatalf("status %d", status)
	}
	_ = mine.SetDeadline(time.Time{})
	return c
}

// onFakeTime runs a test with a server on pipes.
func onFakeTime(t *testing.T, test func(*testing.T, *system, *pipes), adjust ...func(*httpapi.Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		test(t, setupOn(t, p, adjust...), p)
	})
}

func TestHeartbeat_PingsEvery30Seconds(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		c.text(`{"access_id":"c","timestamp":0}`)
		began := time.Now()
		for n := 1; n <= 5; n++ {
			c.expect(opPing, fmt.Sprint(n))
			if after, want := time.Since(began), time.Duration(n)*30*time.Second; after < want || after > want+time.Second {
				t.Errorf("ping %d after %v", n, after)
			}
			c.send(0x80|opPong, fmt.Sprint(n))
		}
	})
}

func TestHeartbeat_BeginsBeforeTheAnnouncement(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		began := time.Now()
		c.expect(opPing, "1")
		if after := time.Since(began); after < 30*time.Second || after > 31*time.Second {
			t.Errorf("after %v", after)
		}
	}, func(c *httpapi.Config) { c.FirstMessage = time.Hour })
}

func TestHeartbeat_SilenceEndsAConnection(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		c.text(`{"access_id":"c","timestamp":0}`)
		c.expect(opPing, "1")
		c.send(0x80|opPong, "1")
		began := time.Now()
		c.expect(opPing, "2") // and no answer
		code, reason := c.expectClose()
		if after := time.Since(began); after < 55*time.Second || after > 65*time.Second || code != 1008 || reason != "no pong" {
			t.Errorf("closed with %d %q after %v", code, reason, after)
		}
		if users := s.store.hub.Users(); len(users) > 0 {
			t.Errorf("still there: %q", users)
		}
	})
}

func TestHeartbeat_AClientThatTakesBytesIsAlive(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		c.text(`{"access_id":"c","timestamp":0}`)
		synctest.Wait()
		for n := 1; n <= 4; n++ { // it never answers a ping
			c.expect(opPing, fmt.Sprint(n))
			s.push(event("c", int64(n), `"x"`))
			c.expect(opText, fmt.Sprintf(`[{"accessid":"c","created_at":%d,"payload":"x"}]`, n))
		}
	})
}

func TestFirstMessage_HasADeadline(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		silent, pinging, talking := p.dial(s), p.dial(s), p.dial(s)
		began := time.Now()
		talking.text(`{"access_id":"c","timestamp":0}`)
		pinging.send(0x80|opPing, "x") // pings are no message
		pinging.expect(opPong, "x")
		for _, c := range []*client{silent, pinging} {
			code, reason := c.expectClose()
			if after := time.Since(began); after < 10*time.Second || after > 11*time.Second || code != 1008 {
				t.Errorf("closed with %d %q after %v", code, reason, after)
			}
		}
		talking.expect(opPing, "1")
	})
}

func TestFirstMessage_DeadlineBeyondThePingInterval(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		began := time.Now()
		for n := 1; n <= 3; n++ {
			c.expect(opPing, fmt.Sprint(n))
			c.send(0x80|opPong, "")
		}
		c.expectClose()
		if after := time.Since(began); after < 100*time.Second || after > 101*time.Second {
			t.Errorf("closed after %v", after)
		}
	}, func(c *httpapi.Config) { c.FirstMessage = 100 * time.Second })
}

func TestWriting_ASocketThatTakesNothingIsGivenUp(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dial(s)
		c.text(`{"access_id":"c","timestamp":0}`)
		synctest.Wait()
		began := time.Now()
		s.push(event("c", 1, `"never read"`)) // a pipe has no buffer
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for len(s.store.hub.Users()) > 0 {
			<-ticker.C
			synctest.Wait()
		}
		if after := time.Since(began); after < 25*time.Second || after > 45*time.Second {
			t.Errorf("given up after %v", after)
		}
	})
}

func TestRun_DrainsSpreadOverTime(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		var clients []*client
		for range 1000 {
			c := p.dial(s)
			c.text(`{"access_id":"c","timestamp":0}`)
			clients = append(clients, c)
		}
		s.push(event("c", 1, `"last"`))
		began := time.Now()
		ends := make(chan time.Duration, len(clients))
		for _, c := range clients {
			go func() { // ends with its connection
				c.expect(opText, `[{"accessid":"c","created_at":1,"payload":"last"}]`)
				code, _ := c.expectClose()
				if code != 1012 {
					t.Errorf("closed with %d", code)
				}
				ends <- time.Since(began)
			}()
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		var after []time.Duration
		for range clients {
			after = append(after, <-ends)
		}
		slices.Sort(after)
		if middle, last := after[len(after)/2], after[len(after)-1]; middle < 4*time.Second || middle > 6*time.Second || last < 9*time.Second || last > 11*time.Second {
			t.Errorf("half were closed after %v, all after %v", middle, last)
		}
	}, func(c *httpapi.Config) { c.Drain = 10 * time.Second })
}

func TestRun_DrainIsNotReadyAndTakesNobodyIn(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		held := p.dial(s)
		held.text(`{"access_id":"c","timestamp":0}`)
		keep, theirs := net.Pipe()
		p.dialed <- theirs
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }() // ends when the server has
		goodbye, err := held.read()
		if code, _ := closeParts(goodbye.payload); err != nil || goodbye.op != opClose || code != 1012 {
			t.Errorf("told %d %q, %v", goodbye.op, goodbye.payload, err)
		}

		// The client has not answered yet, so the server still waits.
		_, _ = fmt.Fprint(keep, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status := readStatus(t, keep); status != 503 {
			t.Errorf("ready while it drains: %d", status)
		}
		_ = keep.Close()
		held.send(0x80|opClose, goodbye.payload)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestRun_EndsThoughAClientDoesNotAnswer(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		deaf := p.dial(s)
		deaf.text(`{"access_id":"c","timestamp":0}`)
		synctest.Wait()
		began := time.Now()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if after := time.Since(began); after > 6*time.Second {
			t.Errorf("took %v", after)
		}
	})
}

// broken is a listener that fails.
type broken struct{ *pipes }

func (broken) Accept() (net.Conn, error) { return nil, errors.New("out of order") }

func TestRun_ReportsAListenerThatFails(t *testing.T) {
	t.Parallel()
	server, err := httpapi.New(httpapi.Config{
		Hub: newStore().hub, Store: newStore(), Ready: func() error { return nil }, Anonymous: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context(), newPipes(), broken{newPipes()}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
