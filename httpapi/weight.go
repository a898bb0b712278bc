package httpapi

import "example.com/notifier/notifier"

// nameUnit is how many bytes of a name count as one subscription: about as many
// as one with an id of usual size has.
const nameUnit = 64

// weigh says how many subscriptions one counts for: a filter that lists values
// has an entry for each in the hub's index, and a name may be long.
func weigh(name string, f *notifier.Filter) int {
	return max(1, len(f.Types), len(f.Actions), len(f.Keys), (len(name)+nameUnit-1)/nameUnit)
}

// hasRoom reports whether the connection may have a subscription of that weight
// besides its others, in place of one of the same name. Others only get fewer
// until it is recorded, as the caller is the connection's reader.
func (c *conn) hasRoom(name string, weight int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.weight
	if older := c.subscriptions[name]; older != nil {
		held -= older.weight
	}
	return held+weight <= c.server.config.MaxSubscriptions
}

// dropLocked takes a subscription off the record and returns it; nil: there is
// none of that name.
func (c *conn) dropLocked(name string) *subscription {
	sub := c.subscriptions[name]
	if sub != nil {
		delete(c.subscriptions, name)
		c.weight -= sub.weight
	}
	return sub
}
