package httpapi

import (
	"context"
	"errors"
	"time"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
)

// logIn puts whom a command's credential names in the place of whoever the
// connection was for. Whatever becomes of it, that one is logged out; what was
// subscribed to goes on only for the same user with the same rights, by the same
// account or a token of others as before: else the requests of the one would
// keep alive what rests on the other, and nothing would end it.
func (c *conn) logIn(cmd command) (result, error) {
	before := c.caller
	c.caller = caller{}
	who, got, err := c.enter(cmd)
	if err == nil {
		err = c.countFor(who, who.User)
	}
	if err != nil || who.User != before.User || who.Roles != before.Roles || !sameAccount(who.account, before.account) {
		c.logOut()
	}
	if err != nil {
		return result{}, err
	}
	c.caller = who
	c.renew(who)
	return got, nil
}

func sameAccount(a, b *notifier.Account) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// enter returns whose credential a command shows, and with what the client may
// come back: a new token, if its own is one of ours, which so is renewed without
// anything that instances would have to know of each other.
func (c *conn) enter(cmd command) (who caller, got result, err error) {
	ctx, cancel := context.WithTimeout(c.server.life, admitTimeout)
	defer cancel()
	switch {
	case cmd.password == nil:
		who, err = c.server.verify(ctx, cmd.token)
	case c.server.config.Anonymous: // it opens nothing that is not open
		who, err = c.server.stranger()
	default:
		who, err = c.server.logIn(ctx, cmd.password.user, cmd.password.text, c.peer)
	}
	if err == nil {
		_, err = c.server.admit(ctx, who, nil)
	}
	if _, ok := errors.AsType[*auth.ThrottledError](err); ok {
		err = errThrottled
	}
	if err != nil {
		return caller{}, result{}, err
	}
	if who.account == nil && !who.open {
		return who, result{token: cmd.token, expires: who.Expires}, nil
	}
	got.token, got.expires, err = c.server.openSession(who, sysadmSession)
	if who.account != nil {
		who.Expires = got.expires
	}
	return who, got, err
}

// logOut forgets for whom the connection is, and all that it has subscribed to.
// What still waits was for that one: who logs in next must not get it.
func (c *conn) logOut() {
	c.caller = caller{}
	c.stopLeases()
	c.mu.Lock()
	all := c.takeLocked(func(*subscription) bool { return true })
	c.mu.Unlock()
	c.unsubscribe(all)
	c.forget()
}

// slide has what the connection is logged in to last from this request on,
// where the protocol says so. A token of others has its own end.
func (c *conn) slide() {
	p, ok := c.codec.(patient)
	if now := time.Now(); ok && c.caller.account != nil && !c.caller.Expired(now) {
		if end := now.Add(p.patience().session); !c.caller.Expires.IsZero() && end.After(c.caller.Expires) {
			c.caller.Expires = end
			c.renew(c.caller)
		}
	}
}
