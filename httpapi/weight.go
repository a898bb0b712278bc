package httpapi

// nameUnit is how many bytes of a name count as one subscription: about as many
// as one with an id of usual size has.
const nameUnit = 64

// weigh says how many subscriptions one counts for: a filter that lists values
// has an entry for each in the hub's index, and a name may be long.
func (w want) weigh(user string) int {
	f := w.filter(user)
	return max(1, len(f.Types), len(f.Actions), len(f.Keys), (len(w.name)+nameUnit-1)/nameUnit)
}

// hasRoom reports whether the connection may have all of these subscriptions
// besides its others, each in place of one of the same name. Others only get
// fewer until these are recorded, as the caller is the connection's reader.
func (c *conn) hasRoom(wants []want, user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.weight
	for _, w := range wants {
		held += w.weigh(user)
		if older := c.subscriptions[w.name]; older != nil {
			held -= older.weight
		}
	}
	return held <= c.server.config.MaxSubscriptions
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
