package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// crowd is people at a gate, in a bubble: who is inside stays there until let
// out, so the order in which they enter is the gate's own.
type crowd struct {
	gate *gate
	wg   sync.WaitGroup

	mu      sync.Mutex
	entered []string
	out     []func()
}

func (c *crowd) come(ctx context.Context, user string, known bool) {
	c.wg.Go(func() {
		if c.gate.enter(ctx, user, known) != nil {
			return
		}
		gone := make(chan struct{})
		c.mu.Lock()
		c.entered = append(c.entered, user)
		c.out = append(c.out, func() { close(gone) })
		c.mu.Unlock()
		<-gone
		c.gate.leave(known)
	})
	synctest.Wait()
}

// letOut lets out who is inside for longest.
func (c *crowd) letOut() bool {
	c.mu.Lock()
	if len(c.out) == 0 {
		c.mu.Unlock()
		return false
	}
	out := c.out[0]
	c.out = c.out[1:]
	c.mu.Unlock()
	out()
	synctest.Wait()
	return true
}

func (c *crowd) finish() []string {
	for c.letOut() {
	}
	c.wg.Wait()
	return c.entered
}

func TestGate_UsersTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{gate: newGate(1)}
		for _, user := range []string{"a", "a", "a", "a", "b", "c", "b"} {
			c.come(t.Context(), user, false)
		}
		if got := c.finish(); !slices.Equal(got, []string{"a", "a", "b", "c", "a", "b", "a"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestGate_TheKnownGoFirstButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{gate: newGate(2)}
		for i := range 3 {
			c.come(t.Context(), fmt.Sprintf("s%d", i), false)
		}
		if len(c.entered) != 1 {
			t.Errorf("strangers have taken the last place: %q", c.entered)
		}
		for i := range 7 {
			c.come(t.Context(), fmt.Sprintf("k%d", i), true)
		}
		got := c.finish()
		first := slices.Index(got, "s1")
		if !slices.Equal(got[:2], []string{"s0", "k0"}) || first < 5 || first > 7 || len(got) != 10 {
			t.Errorf("%q", got)
		}
	})
}

func TestGate_GivingUpMakesRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{gate: newGate(1)}
		c.come(t.Context(), "inside", false)
		ctx, cancel := context.WithCancel(t.Context())
		for range maxWaitingUser {
			c.come(ctx, "a", false)
		}
		if err := c.gate.enter(t.Context(), "a", false); !errors.Is(err, ErrBusy) {
			t.Errorf("a line that is too long: %v", err)
		}
		c.come(t.Context(), "b", false)
		cancel()
		synctest.Wait()
		if g := c.gate; g.strangers.waiting != 1 || len(g.strangers.queues) != 1 || len(g.strangers.turns) != 1 {
			t.Errorf("%d wait, in the turns of %q", g.strangers.waiting, g.strangers.turns)
		}
		if got := c.finish(); !slices.Equal(got, []string{"inside", "b"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestGate_WaitingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{gate: newGate(1)}
		c.come(t.Context(), "inside", false)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxWaitingAll {
			c.come(ctx, fmt.Sprint(i), false)
		}
		if err := c.gate.enter(t.Context(), "one more", false); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		cancel()
		c.finish()
	})
}

// Whoever enters just when giving up passes the place on.
func TestGate_NoPlaceIsLost(t *testing.T) {
	t.Parallel()
	g := newGate(2)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				wg.Go(cancel)
				if g.enter(ctx, fmt.Sprint(n%3), i%2 == 0) == nil {
					g.leave(i%2 == 0)
				}
			}
		})
	}
	wg.Wait()
	if g.known.inside+g.strangers.inside+g.known.waiting+g.strangers.waiting != 0 || len(g.known.turns)+len(g.strangers.turns) != 0 {
		t.Errorf("somebody is left: %+v, %+v", g.known, g.strangers)
	}
}
