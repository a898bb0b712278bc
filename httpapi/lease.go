package httpapi

import (
	"context"
	"time"

	"example.com/notifier/notifier"
)

// lease is how long what rests on a user's tokens may go on. A connection has
// one for each standing whose token it has shown, and a newer token extends it.
type lease struct {
	expires time.Time
	timer   *time.Timer
}

// standing is what a token makes of a client. What an admin has subscribed to
// shows everything, so no token extends it that does not say admin any more.
type standing struct {
	user  string
	admin bool
}

// renew takes note of a token that was shown. One that never expires needs no
// lease, and an older one changes nothing. An admin's also extends what the same
// user has without that.
func (c *conn) renew(who caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if who.Expires.IsZero() || c.gone {
		return
	}
	if c.leases == nil {
		c.leases = make(map[standing]*lease, 1)
	}
	of := who.standing()
	if c.leases[of] == nil {
		c.leases[of] = &lease{}
	}
	c.extendLocked(of, who.Expires)
	if less := (standing{user: who.User}); c.leases[less] != nil {
		c.extendLocked(less, who.Expires)
	}
}

func (c *conn) extendLocked(of standing, expires time.Time) {
	held := c.leases[of]
	if !expires.After(held.expires) {
		return
	}
	if held.timer != nil {
		held.timer.Stop()
	}
	held.expires = expires
	held.timer = time.AfterFunc(time.Until(expires), func() {
		c.spawn(func() { c.expire(of) }) // ends when the client is told
	})
}

// expire ends what rests on tokens of a standing, unless a newer one came in
// this moment. Of an admitted client that is all there is.
func (c *conn) expire(of standing) {
	c.mu.Lock()
	held := c.leases[of]
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
	delete(c.leases, of)
	ended := c.takeLocked(func(sub *subscription) bool { return sub.of == of })
	c.mu.Unlock()
	c.unsubscribe(ended)
	if len(ended) > 0 || c.admitted {
		c.tellLoss(errExpired)
	}
}

// prolong has the connection of an admitted client go on, if its user has got a
// newer token meanwhile, at whatever instance: there is no message to show it in.
// If that can't be known now, the connection ends as one that should be tried
// again. False means that the token has expired.
func (c *conn) prolong() bool {
	who := c.caller
	if who.account == nil {
		return false // the tokens of others are renewed elsewhere
	}
	ctx, cancel := context.WithTimeout(c.server.life, admitTimeout)
	defer cancel()
	until, err := c.server.config.Store.SessionEnd(ctx, *who.account)
	if err != nil {
		c.server.config.Logger.Error("session could not be read", "user", who.User, "error", err)
		c.End(notifier.EndedByOutage)
		return true
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
