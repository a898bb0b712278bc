package httpapi_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// TestStress_OthersComeAndGo has clients come, replay, be dropped, break off and
// misbehave, while steady ones must receive every event exactly once, in order.
func TestStress_OthersComeAndGo(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.CloseTimeout = 100 * time.Millisecond })
	s.store.pageSize = 7
	const events, restless = 800, 12
	steady := []*client{s.announce("steady", 0), s.announce("steady", 0)}
	for _, c := range steady {
		s.live(c)
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	for n := range restless {
		others.Go(func() { // ends when all is published
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					s.come(n + i)
				}
			}
		})
	}
	for i := range events {
		s.push(event("steady", int64(i), fmt.Sprint(i)), event("restless", int64(i), fmt.Sprint(i)))
		if i%100 == 50 {
			_ = s.store.DropUser(t.Context(), "restless", "")
		}
	}
	close(done)
	others.Wait()
	for _, c := range steady {
		for i := range events {
			c.expect(opText, fmt.Sprintf(`[{"accessid":"steady","created_at":%d,"payload":%d}]`, i, i))
		}
	}
}

// come connects, does something that depends on the number, and is gone.
func (s *system) come(n int) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	c, ok := handshake(s.t, conn, s.addr)
	if !ok {
		return
	}
	switch n % 6 {
	case 0:
		return // says nothing
	case 1:
		_, _ = c.Write(masked(0x80|opText, "nonsense"))
	case 2:
		_, _ = c.Write([]byte{0x80 | opText, 1, 'x'}) // not masked
	default:
		_, _ = c.Write(masked(0x80|opText, `{"access_id":"restless","timestamp":0}`))
	}
	for range n % 5 {
		if _, err := c.read(); err != nil {
			return
		}
	}
	if n%2 == 0 {
		_, _ = c.Write(masked(0x80|opClose, closePayload(1000, "")))
	}
}

// handshake opens a WebSocket without failing the test if it can't.
func handshake(t *testing.T, conn net.Conn, host string) (*client, bool) {
	_, err := fmt.Fprint(conn, upgradeRequest("/subscribe_to_events", "Host: "+host))
	if err != nil {
		return nil, false
	}
	c := newClient(t, conn)
	answer, err := http.ReadResponse(c.in, nil)
	return c, err == nil && answer.StatusCode == http.StatusSwitchingProtocols
}

func TestReplay_ClientThatIsDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	s := replaying(t, func(s *system) { _ = s.store.DropUser(s.t.Context(), "c", "") })
	client := s.dial("/subscribe_to_events")
	client.text(`{"access_id":"c","timestamp":0}`)
	for {
		got, err := client.read()
		if err != nil {
			t.Fatal(err)
		}
		if got.op == opClose {
			if code, reason := closeParts(got.payload); code != 1000 {
				t.Errorf("closed with %d %q", code, reason)
			}
			return
		}
	}
}

// What happens during a replay waits in no outbox: it may be more than fits there.
func TestReplay_MoreHappensMeanwhileThanFits(t *testing.T) {
	t.Parallel()
	s := replaying(t, func(s *system) {
		s.push(event("c", 10, "1"), event("c", 11, "2"))
		s.push(event("c", 12, "3"))
	})
	client := s.dial("/subscribe_to_events")
	client.text(`{"access_id":"c","timestamp":0}`)
	var all strings.Builder
	for strings.Count(all.String(), "created_at") < 6 {
		got, err := client.read()
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(got.payload)
	}
	last := -1
	for _, at := range []int{1, 2, 3, 10, 11, 12} {
		place := strings.Index(all.String(), fmt.Sprintf(`"created_at":%d,`, at))
		if place <= last {
			t.Errorf("event %d is not in its place: %s", at, all.String())
		}
		last = place
	}
}

// replaying has something happen in the middle of a replay of three events.
func replaying(t *testing.T, happen func(*system)) *system {
	t.Helper()
	s := setup(t, func(c *httpapi.Config) { c.Outbox.Events = 2 })
	s.store.pageSize = 1
	s.push(event("c", 1, `1`), event("c", 2, `2`), event("c", 3, `3`))
	s.store.replaying = func(page int) {
		if page == 1 {
			happen(s)
		}
	}
	return s
}
