package testcontainers

import "testing"

// Clients makes clients of an instance, of one kind. The [Instance] itself makes those
// that show a token and keep cursors.
type Clients struct {
	instance       *Instance
	withoutCursors bool
	withoutToken   bool
}

// WithoutCursors makes clients as they were before notifier, which know of no cursors: real
// ones of Digital Rebar, sysadm, ernius and airlay. What they miss while they are away does not
// come, but by ernius, see [Subscription].
func (c Clients) WithoutCursors() Clients {
	c.withoutCursors = true
	return c
}

// WithoutToken makes clients that show no token, which is for NOTIFIER_ANONYMOUS.
func (c Clients) WithoutToken() Clients {
	c.withoutToken = true
	return c
}

// Ernius subscribes a user to what is addressed to it.
func (c Clients) Ernius(t testing.TB, user string) *Subscriber {
	t.Helper()
	return c.mustSubscribe(t, Subscription{Protocol: Ernius, User: user})
}

// Airlay subscribes a user to objects, TYPE/ID, or to notification.
func (c Clients) Airlay(t testing.TB, user string, objects ...string) *Subscriber {
	t.Helper()
	return c.mustSubscribe(t, Subscription{Protocol: Airlay, User: user, Topics: objects})
}

// DRP subscribes a user to filters, TYPE.ACTION.KEY, of Digital Rebar.
func (c Clients) DRP(t testing.TB, user string, filters ...string) *Subscriber {
	t.Helper()
	return c.mustSubscribe(t, Subscription{Protocol: DRP, User: user, Topics: filters})
}

// Sysadm subscribes a user to types.
func (c Clients) Sysadm(t testing.TB, user string, types ...string) *Subscriber {
	t.Helper()
	return c.mustSubscribe(t, Subscription{Protocol: Sysadm, User: user, Topics: types})
}

// SSE subscribes a user to filters, TYPE.ACTION.KEY, by Server-Sent Events; without
// any, to what is addressed to it.
func (c Clients) SSE(t testing.TB, user string, filters ...string) *Subscriber {
	t.Helper()
	return c.mustSubscribe(t, Subscription{Protocol: SSE, User: user, Topics: filters})
}

func (c Clients) mustSubscribe(t testing.TB, s Subscription) *Subscriber {
	t.Helper()
	s.WithoutCursors, s.WithoutToken = c.withoutCursors, c.withoutToken
	one, err := c.instance.Subscribe(t, s)
	if err != nil {
		t.Fatalf("subscribe %v: %v", s, err)
	}
	return one
}
