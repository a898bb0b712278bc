package httpapi_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// What a client's kernel has taken, the client may take longer to read than from one
// ping to the next, and all that time not a byte goes to it. It is no dead one.
func TestSlowClient_ThatReadsWhatItsKernelHolds(t *testing.T) {
	t.Parallel()
	pings := func(c *httpapi.Config) { c.PingInterval = 300 * time.Millisecond }
	for _, test := range []struct {
		name  string
		limit time.Duration
		ends  bool
	}{{"for a while", time.Minute, false}, {"for longer than it may", 600 * time.Millisecond, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, pings, func(c *httpapi.Config) { c.WriteTimeout, c.CloseTimeout = test.limit, 100*time.Millisecond })
			slow, other := s.narrow("all"), s.announce("other", 0)
			payload := `"` + strings.Repeat("x", 10_000) + `"`
			for i := range 6 { // which the two kernels can hold
				s.push(event("all", int64(i), payload))
			}
			for range 6 { // 1.8 s
				f, err := other.read()
				if err != nil || f.op != opPing {
					t.Fatalf("%q, %v", f.payload, err)
				}
				other.send(0x80|opPong, f.payload)
			}
			if test.ends {
				until(t, "it is forgotten", func() bool { return !slices.Contains(s.store.hub.Users(), "all") })
				return
			}
			for i := range 7 {
				if i == 6 {
					s.push(event("all", 6, payload)) // it is live
				}
				got, err := slow.readText()
				if err != nil || !strings.Contains(got.payload, fmt.Sprintf(`"created_at":%d,`, i)) {
					t.Fatalf("event %d: %q, %v", i, short(got.payload), err)
				}
			}
		})
	}
}

// A client that sends pongs faster than they can be taken in leaves no moment
// without any. It ends like every other: a server that is to stop waits for it.
func TestHostile_PongFloodEndsInTime(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxConnections, c.CloseTimeout = 1, 50*time.Millisecond })
	c := s.announce("me", 0)
	until(t, "it is known", func() bool { return len(s.hub.Users()) == 1 }) // a ping would have the library wait in its place
	flood := []byte(strings.Repeat(string(masked(0x80|opPong, "")), 10_000))
	var sent atomic.Int64
	flooded := make(chan struct{})
	go func() { // ends when it is cut off
		defer close(flooded)
		for {
			n, err := c.Write(flood)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	until(t, "the kernel's buffers are full of them", func() bool { return sent.Load() > 4<<20 })
	s.request("POST", "/drop_user", `{"drop_access_id":"me"}`, "Content-Type: application/json")
	for { // the close frame stays without an answer
		_, err := c.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("it goes on")
		}
		if err != nil {
			break
		}
	}
	until(t, "its place is free", func() bool {
		_, status := s.tryDial("/subscribe_to_events")
		return status == 101
	})
	<-flooded
}
