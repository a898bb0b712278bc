package httpapi_test

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

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
