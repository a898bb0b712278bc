package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// A wildcard shows each user what the policy lets it read of each event, and an
// admin everything.
func TestDRP_EachEventIsChecked(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	d.allowed["alice open"] = true
	s := drpSystem(t, d)
	alice, bob, root := s.drp(token(t, "alice", time.Hour, nil)), s.drp(token(t, "bob", time.Hour, withRoles("publisher"))), s.drp(token(t, "root", time.Hour, withRoles("admin")))
	in := func(dataset, key string) (notifier.Event, string) {
		e, message := machine("save", key)
		e.DatasetID = &dataset
		return e, message
	}
	open, opened := in("open", "1")
	closed, shut := in("closed", "2")
	all, everybody := machine("save", "3")
	mine, myself := machine("save", "4")
	mine = toUser("alice", mine)
	for _, c := range []*drpClient{alice, bob, root} {
		c.do("register", "*.*.*")
		c.do("register", "machines.*.*")
	}
	publish := func() { d.publish(t, open, closed, all, mine) }
	expect := func(c *drpClient, messages ...string) {
		t.Helper()
		for _, m := range messages {
			c.expect(opText, m)
		}
		c.silent()
	}
	publish()
	expect(alice, opened, everybody, myself)
	expect(bob, everybody)
	expect(root, opened, shut, everybody, myself)
	d.permit("alice", "open", false)
	d.permit("bob", "closed", true)
	publish()
	expect(alice, everybody, myself) // nothing was said of it
	expect(bob, shut, everybody)
	expect(root, opened, shut, everybody, myself)
}

// A filter too many ends the connection: without an answer its client would
// wait for ever.
func TestDRP_TooManyFilters(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := drpSystem(t, d, func(c *httpapi.Config) { c.MaxSubscriptions = 4 })
	for name, filters := range map[string][]string{
		"many":     {"1.*.*", "2.*.*", "3.*.*", "4.*.*", "4.*.*", "no filter", "5.*.*"},
		"one list": {"a,b,c,d.a,b,c,d.a,b,c,d", "*.*.a,b,c,d,e"},
		"long":     {strings.Repeat("x", 256), "a." + strings.Repeat("x", 300) + ".*"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &drpClient{s.in(t).dial(drpPath, "Authorization: Bearer "+token(t, "alice", time.Hour, nil))}
			last := len(filters) - 1
			for _, filter := range filters[:last] {
				c.do("register", filter)
			}
			if name == "one list" {
				c.do("deregister", filters[0])
			}
			c.text("register " + filters[last])
			got, err := c.read()
			if want := (frame{opClose, closePayload(1008, "too many subscriptions on one connection")}); err != nil || got != want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// drop_user ends a connection also before it registers anything; and so does
// the loss of the user.
func TestDRP_IsKnownFromTheHandshakeOn(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := drpSystem(t, d)
	alice, bob := s.drp(token(t, "alice", time.Hour, nil)), s.drp(token(t, "bob", time.Hour, nil))
	until(t, "both are known", func() bool { return slices.Equal(s.hub.Users(), []string{"alice", "bob"}) })
	if err := d.DropUser(t.Context(), "alice", "root"); err != nil {
		t.Fatal(err)
	}
	if code, reason := alice.expectClose(); code != 1000 || reason != "close" {
		t.Errorf("closed with %d %q", code, reason)
	}
	d.mu.Lock()
	d.users["bob"] = false
	d.mu.Unlock()
	bob.text("register *.*.*")
	if code, reason := bob.expectClose(); code != 1008 || reason != "not authorized" {
		t.Errorf("closed with %d %q", code, reason)
	}
	if _, status := s.tryDial(drpPath, "Authorization: Bearer "+token(t, "bob", time.Hour, nil)); status != http.StatusForbidden {
		t.Errorf("who is no user: %d", status)
	}
}

// A connection needs to say nothing to stay, and stays as long as its token.
func TestDRP_LastsAsLongAsItsToken(t *testing.T) {
	onTokensTime(t, []string{"alice"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		short, long := "Authorization: Bearer "+token(t, "alice", time.Hour, nil), "Authorization: Bearer "+token(t, "alice", 2*time.Hour, nil)
		idle, busy, other := p.dialWith(s, drpPath, short), &drpClient{p.dialWith(s, drpPath, short)}, &drpClient{p.dialWith(s, drpPath, long)}
		<-time.After(time.Hour - time.Second) // fake
		busy.do("register", "*.*.*")
		other.do("register", "*.*.*")
		e, message := machine("save", "1")
		d.publish(t, e)
		busy.expect(opText, message)
		began := time.Now()
		for _, c := range []*client{idle, busy.client} {
			if code, reason := c.expectClose(); code != 1008 || reason != "token expired" {
				t.Errorf("closed with %d %q", code, reason)
			}
		}
		if after := time.Since(began); after != time.Second {
			t.Errorf("closed %v after the last event", after)
		}
		d.publish(t, e)
		other.expect(opText, message)
		other.expect(opText, message)
		other.do("register", "a.b.c")
		_ = other.Close()
	}, func(c *httpapi.Config) { c.FirstMessage = 10 * time.Second })
}
