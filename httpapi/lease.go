package httpapi

import (
	"context"
	"time"
)

// lease is how long what rests on a user's tokens may go on. A connection has
// one for each user whose token it has shown, and a newer token extends it.
type lease struct {
	expires time.Time
	timer   *time.Timer
}

// renew takes note of a token that was shown. One that never expires needs no
// lease, and an older one changes nothing.
func (c *conn) renew(who caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if who.Expires.IsZero() || c.gone {
		return
	}
	held := c.leases[who.User]
	if held == nil {
		if c.leases == nil {
			c.leases = make(map[string]*lease, 1)
		}
		held = &lease{}
		c.leases[who.User] = held
	}
	if !who.Expires.After(held.expires) {
		return
	}
	if held.timer != nil {
		held.timer.Stop()
	}
	held.expires = who.Expires
	user := who.User
	held.timer = time.AfterFunc(time.Until(who.Expires), func() {
		c.spawn(func() { c.expire(user) }) // ends when the client is told
	})
}

// expire ends what rests on a user's tokens, unless a newer one came in this
// moment. Of an admitted client that is all there is.
func (c *conn) expire(user string) {
	c.mu.Lock()
	held := c.leases[user]
	if held == nil || time.Now().Before(held.expires) {
		c.mu.Unlock()
		return
	}
	if c.admitted {
		c.mu.Unlock()
		if c.prolong() {
			return
		}
		c.mu.Lock()
	}
	delete(c.leases, user)
	ended := c.takeLocked(func(sub *subscription) bool { return sub.user == user })
	c.mu.Unlock()
	c.unsubscribe(ended)
	if len(ended) > 0 || c.admitted {
		c.tellLoss(errExpired)
	}
}

// prolong has the connection of an admitted client go on, if its user has got a
// newer token meanwhile, at whatever instance: there is no message to show it in.
func (c *conn) prolong() bool {
	who := c.caller
	if who.account == nil {
		return false // the tokens of others are renewed elsewhere
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitTimeout)
	defer cancel()
	until, err := c.server.config.Store.SessionEnd(ctx, *who.account)
	if err != nil {
		c.server.config.Logger.Error("session could not be read", "user", who.User, "error", err)
		return false
	}
	if !until.After(time.Now()) {
		return false
	}
	who.Expires = until
	c.renew(who)
	return true
}

// stopLeases is for the end of the connection.
func (c *conn) stopLeases() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, held := range c.leases {
		held.timer.Stop()
	}
	c.leases = nil
}
