package httpapi

import (
	"context"
)

// logIn puts whom a command's credential names in the place of whoever the
// connection was for. Whatever becomes of it, that one is logged out; what was
// subscribed to goes on only for the same user with the same rights.
func (c *conn) logIn(cmd command) (result, error) {
	before := c.caller
	c.caller = caller{}
	ctx, cancel := context.WithTimeout(context.Background(), admitTimeout)
	defer cancel()
	who, err := c.server.verify(ctx, cmd.token)
	if err == nil {
		_, err = c.server.admit(ctx, who, nil)
	}
	if err != nil || who.User != before.User || who.Roles != before.Roles {
		c.logOut()
	}
	if err != nil {
		return result{}, err
	}
	c.caller = who
	c.renew(who)
	return result{token: cmd.token, expires: who.Expires}, nil
}

// logOut forgets for whom the connection is, and all that it has subscribed to.
func (c *conn) logOut() {
	c.caller = caller{}
	c.stopLeases()
	c.mu.Lock()
	all := c.subscriptions
	c.subscriptions, c.weight = nil, 0
	c.mu.Unlock()
	for _, sub := range all {
		c.server.config.Hub.Unsubscribe(sub.Subscription)
	}
}
