package auth_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// guesser tries passwords against a throttle alone.
type guesser struct {
	*testing.T
	throttle *auth.Throttle
	clock    *clock
}

func newGuesser(t *testing.T, c auth.ThrottleConfig) guesser {
	g := guesser{T: t, clock: newClock()}
	c.Clock = g.clock.Now
	g.throttle = auth.NewThrottle(c)
	return g
}

// begin returns a try, or how long to wait for one.
func (g guesser) begin(user, address string) (*auth.Try, time.Duration) {
	g.Helper()
	try, err := g.throttle.Begin(user, netip.MustParseAddr(address))
	if throttled, ok := errors.AsType[*auth.ThrottledError](err); ok {
		return nil, throttled.RetryAfter
	}
	if err != nil {
		g.Fatal(err)
	}
	return try, 0
}

func (g guesser) fail(user, address string, times int) {
	g.Helper()
	for i := range times {
		try, wait := g.begin(user, address)
		if wait > 0 {
			g.Fatalf("%s from %s must wait %v after %d failures", user, address, wait, i)
		}
		try.Failed()
	}
}

func (g guesser) wantWait(user, address string, want time.Duration) {
	g.Helper()
	try, wait := g.begin(user, address)
	if try != nil {
		try.Abandoned()
	}
	if wait != want {
		g.Errorf("%s from %s waits %v, want %v", user, address, wait, want)
	}
}

func TestThrottle_DelayGrowsAndSuccessResets(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{LastDelay: 10 * time.Second})
	g.fail("alice", "10.0.0.1", 5)
	for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		g.wantWait("alice", "10.0.0.1", want*time.Second)
		g.clock.Advance(want * time.Second)
		g.fail("alice", "10.0.0.1", 1)
	}
	g.clock.Advance(10 * time.Second)
	try, _ := g.begin("alice", "10.0.0.1")
	try.Succeeded()
	g.fail("alice", "10.0.0.1", 5)
	g.wantWait("alice", "10.0.0.1", time.Second)
	g.clock.Advance(time.Hour)
	g.fail("alice", "10.0.0.1", 5) // forgotten
}

func TestThrottle_NobodyIsLockedOutByAnother(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{})
	for i := range 100 {
		g.fail("alice", fmt.Sprintf("10.0.1.%d", i), 5)
	}
	g.wantWait("alice", "192.0.2.1", 0)         // from elsewhere
	g.wantWait("bob", "10.0.1.1", 0)            // another user there
	g.wantWait("alice", "::ffff:10.0.1.1", 1e9) // the same address
	g.wantWait("alice", "10.0.1.1", 1e9)
}

func TestThrottle_CountsNetworksOfIPv6AndLoopback(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{})
	g.fail("alice", "2001:db8::1", 5)
	g.wantWait("alice", "2001:db8::ffff:1", time.Second)
	g.wantWait("alice", "2001:db8:0:1::1", 0)
	g.fail("alice", "127.0.0.1", 5)
	g.wantWait("alice", "127.0.0.1", time.Second)
	g.fail("alice", "fe80::1%eth0", 5)
	g.wantWait("alice", "fe80::1%eth1", time.Second)
	if _, err := g.throttle.Begin("alice", netip.Addr{}); err != nil {
		t.Errorf("without an address: %v", err)
	}
}

// One address that tries many users is slowed as well, except for those who
// are known there.
func TestThrottle_SlowsSprayingFromOneNetwork(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{})
	try, _ := g.begin("carol", "10.0.0.1")
	try.Succeeded()
	for i := range 50 {
		g.fail(fmt.Sprintf("user%d", i), "10.0.0.1", 1)
	}
	g.wantWait("somebody", "10.0.0.1", time.Second)
	g.wantWait("carol", "10.0.0.1", 0)
	g.wantWait("somebody", "10.0.0.2", 0)
}

// Guesses that are sent all at once count before any of them has failed.
func TestThrottle_TriesUnderWayCount(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{})
	var tries []*auth.Try
	for range 5 {
		try, wait := g.begin("alice", "10.0.0.1")
		if wait > 0 {
			t.Fatalf("waits %v with %d under way", wait, len(tries))
		}
		tries = append(tries, try)
	}
	g.wantWait("alice", "10.0.0.1", time.Second)
	tries[0].Abandoned()
	g.wantWait("alice", "10.0.0.1", 0)
	for _, try := range tries[1:] {
		try.Succeeded()
	}
	for range 32 { // a client that sends its password with each of its requests
		if _, wait := g.begin("alice", "10.0.0.1"); wait > 0 {
			t.Fatal("somebody known is slowed")
		}
	}
	g.wantWait("alice", "10.0.0.1", time.Second)
}

func TestThrottle_MemoryIsBounded(t *testing.T) {
	t.Parallel()
	g := newGuesser(t, auth.ThrottleConfig{Entries: 100, Free: 1})
	try, _ := g.begin("carol", "192.0.2.1")
	try.Succeeded()
	g.fail("alice", "10.0.0.1", 1)
	g.wantWait("alice", "10.0.0.1", time.Second)
	for i := range 1000 {
		g.fail("alice", fmt.Sprintf("10.1.%d.%d", i/250, i%250), 1)
	}
	g.wantWait("alice", "10.0.0.1", 0) // forgotten for newer ones
	if try, _ := g.begin("carol", "192.0.2.1"); !try.Known() {
		t.Error("failures of others have pushed out who is known")
	}
}
