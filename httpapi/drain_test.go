package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// stalled is a store that answers nothing before it is no longer asked.
type stalled struct{ httpapi.Store }

// Admit waits for the end of the question.
func (stalled) Admit(ctx context.Context, _, _, _ string) (notifier.Admission, error) {
	<-ctx.Done()
	return notifier.Admission{}, context.Cause(ctx)
}

// Publish does the same.
func (stalled) Publish(ctx context.Context, _ notifier.Publication) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// retryHint is what README.md promises.
var retryHint = regexp.MustCompile(`^restarting; retry in ([0-9]+) ms$`)

// Each client of a server that stops is told another time to come again.
func TestDrain_TellsEachWhenToComeAgain(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		var clients []*client
		for n := range 200 {
			clients = append(clients, p.dialWith(s, []string{"/ws", "/", "/subscribe_to_events", drpPath}[n%4]))
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }() // ends when the server has
		hints := map[int]bool{}
		for _, c := range clients {
			code, reason := c.expectClose()
			found := retryHint.FindStringSubmatch(reason)
			if code != 1012 || found == nil {
				t.Fatalf("told %d %q", code, reason)
			}
			ms, _ := strconv.Atoi(found[1])
			if ms < 250 || ms > 1250 {
				t.Errorf("told to come again after %d ms", ms)
			}
			hints[ms] = true
		}
		if len(hints) < 50 {
			t.Errorf("only %d different times", len(hints))
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// While it drains, a server is not ready, and says so to who wants to connect.
func TestDrain_RefusesWithATimeToComeAgain(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		deaf := p.dial(s)
		deaf.text(`{"access_id":"c","timestamp":0}`)
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- s.stop() }() // ends when the server has
		synctest.Wait()
		for _, request := range []string{
			"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
			upgradeRequest("/ws", "Host: localhost", "Authorization: Bearer bad"),
			upgradeRequest(drpPath, "Host: localhost", "Authorization: Bearer bad"),
		} {
			mine, theirs := net.Pipe()
			p.dialed <- theirs
			_, _ = io.WriteString(mine, request)
			answer, err := http.ReadResponse(bufio.NewReader(mine), nil)
			if err != nil {
				t.Fatal(err)
			}
			if seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After")); answer.StatusCode != 503 || !strings.Contains(request, "readyz") && seconds < 1 {
				t.Errorf("%.30s: %d, again after %d s", request, answer.StatusCode, seconds)
			}
			_ = mine.Close()
		}
		if n := s.server.Refusals()[httpapi.RefusedDraining]; n != 2 {
			t.Errorf("%d counted", n)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// A server stops in the time it has, whatever its clients do: those who never
// read, are in the middle of a message, wait for a store that does not answer, or
// for their own body to be read.
func TestDrain_EveryClientIsStuck(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		publisher := token(t, "alice", time.Hour, withRoles("publisher"))
		for n := range 100 {
			c := p.dial(s)
			switch n % 4 {
			case 0: // the store does not answer
				c.text(fmt.Sprintf(`{"access_id":"alice","timestamp":0,"auth":%q}`, publisher))
			case 1:
				c.send(opText, `{"access_id":`)
			case 2:
				_, _ = c.Write(masked(0x80|opText, `{"access_id":"c","timestamp":0}`)[:9])
			}
		}
		for _, request := range []string{
			"POST /push_events?token=" + publisher + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[",
			"POST /push_events?token=" + publisher + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 46\r\n\r\n" +
				`[{"accessid":"c","created_at":1,"payload":""}]`,
			"GET /live",
			"",
		} {
			mine, theirs := net.Pipe()
			p.dialed <- theirs
			t.Cleanup(func() { _ = mine.Close() })
			if request != "" {
				_, _ = fmt.Fprint(mine, request)
			}
		}
		synctest.Wait()
		began := time.Now()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if after := time.Since(began); after < 5*time.Second || after > 5500*time.Millisecond {
			t.Errorf("stopped after %v", after)
		}
	}, func(c *httpapi.Config) {
		guarded(t, newDirectory("alice"), bySecret())(c)
		c.Store = stalled{c.Store}
		c.Drain, c.CloseTimeout, c.FirstMessage = 500*time.Millisecond, 5*time.Second, time.Hour
		c.PingInterval, c.RequestTimeout, c.WriteTimeout = time.Hour, time.Hour, time.Hour
	})
}

// The same with sockets that are full, and with TLS.
func TestDrain_FullSockets(t *testing.T) {
	t.Parallel()
	adjust := func(c *httpapi.Config) {
		smallBuffers(c)
		c.Drain, c.CloseTimeout = 200*time.Millisecond, 500*time.Millisecond
	}
	plain, secure := setup(t, adjust), setupTLS(t, adjust)
	for range 10 {
		plain.narrow("all")
		c := secure.dialTLS(trusting())
		c.text(`{"access_id":"all","timestamp":0}`)
		secure.live(c)
	}
	for _, s := range []*system{plain, secure} {
		for n := range 100 {
			s.push(event("all", int64(n), `"`+strings.Repeat("x", 50_000)+`"`))
		}
		began := time.Now()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if after := time.Since(began); after > 20*time.Second { // a second at most, on a machine with nothing else to do
			t.Errorf("stopped after %v", after)
		}
	}
}
