package httpapi

import (
	"errors"

	"example.com/notifier/notifier"
)

// subscription is one of a connection's.
type subscription struct {
	*notifier.Subscription
	of     standing // on whose token it rests
	weight int      // what it takes of Config.MaxSubscriptions
}

// record keeps a subscription by its name, in place of an older one. It returns
// false if the hub has ended it in this moment, and why.
func (c *conn) record(name string, sub *subscription) (lost error, ok bool) {
	c.mu.Lock()
	lost, ended := c.revoked[sub.Subscription]
	c.revoked = nil // what else is in it was recorded, and withdrawn, before
	if ended {
		c.mu.Unlock()
		return lost, false
	}
	older := c.dropLocked(name)
	if c.subscriptions == nil {
		c.subscriptions = make(map[string]*subscription, 1)
	}
	c.subscriptions[name] = sub
	c.weight += sub.weight
	c.mu.Unlock()
	if older != nil {
		c.server.config.Hub.Replace(older.Subscription, sub.Subscription)
	}
	return nil, true
}

// Revoke tells the client, once, that subscriptions have ended.
func (c *conn) Revoke(ended []*notifier.Subscription, lost notifier.Loss) {
	why := errRevoked
	if lost == notifier.LostAccount {
		why = errExpired
	}
	c.mu.Lock()
	recorded := c.forgetLocked(ended, why)
	c.mu.Unlock()
	if recorded {
		c.tellLoss(why)
	}
}

// forgetLocked drops subscriptions that the hub has ended, and reports whether
// any was recorded. Of one that is not yet, which happens at once, record will
// see why.
func (c *conn) forgetLocked(ended []*notifier.Subscription, why error) (recorded bool) {
	gone := make(map[*notifier.Subscription]bool, len(ended)) // whether it was recorded
	for _, sub := range ended {
		gone[sub] = false
	}
	taken := c.takeLocked(func(sub *subscription) bool {
		_, is := gone[sub.Subscription]
		return is
	})
	for _, sub := range taken {
		gone[sub.Subscription] = true
	}
	for sub, known := range gone {
		if known {
			continue
		}
		if c.revoked == nil {
			c.revoked = make(map[*notifier.Subscription]error, 1)
		}
		c.revoked[sub] = why
	}
	return len(taken) > 0
}

// takeLocked removes the subscriptions that are chosen from those recorded.
func (c *conn) takeLocked(chosen func(*subscription) bool) (taken []*subscription) {
	for name, sub := range c.subscriptions {
		if chosen(sub) {
			c.dropLocked(name)
			taken = append(taken, sub)
		}
	}
	return taken
}

// unsubscribe has the hub forget subscriptions that were taken.
func (c *conn) unsubscribe(taken []*subscription) {
	for _, sub := range taken {
		c.server.config.Hub.Unsubscribe(sub.Subscription)
	}
}

// tellLoss tells the client why subscriptions have ended; where the protocol has
// no words for that, an expired token may end the connection and a revocation
// does not.
func (c *conn) tellLoss(why error) {
	if frame := c.codec.lost(why); frame != nil {
		c.reply(frame)
	} else if errors.Is(why, errExpired) && c.codec.ends(why) {
		c.End(notifier.EndedByExpiry)
	}
}
