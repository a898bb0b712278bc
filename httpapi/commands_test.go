package httpapi_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
)

// sendAll has a client send a message again and again, and go on with it while
// it waits for the server to take more.
func (c *client) sendAll(times int, message string) {
	go func() { // ends when all are sent, or with the connection
		for range times {
			if _, err := c.Write(masked(0x80|opText, message)); err != nil {
				return
			}
		}
	}()
}

// What a client may have subscriptions for is taken at once, and then so many
// messages a second; none is lost. After a pause, as many may come again.
func TestCommands_AtTheirRate(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dialWith(s, "/ws")
		for round := range 2 {
			began := time.Now()
			c.sendAll(50, anonymously("attach", "1"))
			for n := 1; n <= 50; n++ {
				c.expect(opText, airlayOK)
				after, want := time.Since(began), time.Duration(max(0, n-21))*100*time.Millisecond
				if after < want-time.Millisecond || after > want+200*time.Millisecond {
					t.Errorf("round %d: message %d is answered after %v, want %v", round, n, after, want)
				}
			}
			synctest.Wait() // for what comes after the last answer
			if n := s.server.DelayedCommands(); n != uint64(30*(round+1)) {
				t.Errorf("%d have waited", n)
			}
			<-time.After(5 * time.Second)
		}
	}, func(c *httpapi.Config) { c.MaxCommands, c.MaxSubscriptions = 10, 20 })
}

// A client that never ceases to send is slowed down, and not taken for dead,
// although its pongs wait behind what it sends, of which much is read at once; it
// still gets its events.
func TestCommands_WithoutEnd(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		c := p.dialWith(s, drpPath)
		c.text("register issueUpdate.*.1")
		if _, err := c.read(); err != nil {
			t.Fatal(err)
		}
		many := bytes.Repeat(masked(0x80|opText, "x"), 18) // which gets no answer
		go func() {                                        // ends with the connection
			for {
				if _, err := c.Write(many); err != nil {
					return
				}
			}
		}()
		for range 100 {
			if got, err := c.read(); err != nil || got.op != opPing {
				t.Fatalf("got %d %q, %v", got.op, got.payload, err)
			}
		}
		s.push(about("issueUpdate", "1", "[1]"))
		if got, err := c.read(); err != nil || !strings.Contains(got.payload, `"Type":"issueUpdate"`) {
			t.Errorf("got %q, %v", got.payload, err)
		}
	}, func(c *httpapi.Config) { c.MaxCommands, c.MaxSubscriptions, c.PingInterval = 1, 1, 5*time.Second })
}

// On real sockets, a client in a loop does not slow others down, and when it
// ceases, its pings are answered again.
func TestCommands_BesideOthers(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxCommands, c.MaxSubscriptions = 200, 100 })
	loop, other := s.dial("/ws"), s.dial("/ws")
	const times = 600
	loop.sendAll(times, anonymously("detach", "1"))
	until(t, "it has to wait", func() bool { return s.server.DelayedCommands() > 0 })
	for n := range 100 {
		other.text(anonymously("attach", fmt.Sprint(n)))
		other.expect(opText, airlayOK)
	}
	for range times {
		loop.expect(opText, airlayOK)
	}
	s.live(loop)
	if n := s.server.DelayedCommands(); n > times-200 {
		t.Errorf("%d have waited", n)
	}
}

// A server that stops does not wait for a client that has to.
func TestCommands_AnEndDoesNotWait(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) {
		c.MaxCommands, c.MaxSubscriptions, c.CloseTimeout = 1, 1, 100*time.Millisecond
	})
	c := s.dial("/ws")
	c.sendAll(100, anonymously("detach", "1"))
	until(t, "it has to wait", func() bool { return s.server.DelayedCommands() > 0 })
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if after := time.Since(began); after > 30*time.Second { // to take all would last 99 s
		t.Errorf("stopped after %v", after)
	}
}
