package httpapi

import "time"

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
	delete(c.leases, user)
	ended := c.takeLocked(func(sub *subscription) bool { return sub.user == user })
	c.mu.Unlock()
	c.unsubscribe(ended)
	if len(ended) > 0 || c.admitted {
		c.tellLoss(errExpired)
	}
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
