package httpapi

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// clients lists the connections of a user, or with "" all: who is behind first,
// then by what waits for them, the oldest first. It returns how many there are,
// and so many of them as wanted.
func (s *Server) clients(user string, limit int) (total int, list []instances.Client) {
	var acting map[*notifier.Subscriber]bool
	if user != "" {
		acting = s.config.Hub.SubscribersOf(user)
	}
	for i := range s.connections.slices {
		clients, subscribers := s.connections.describe(i, s.began)
		known := s.config.Hub.Describe(subscribers)
		for j, p := range known {
			c := &clients[j]
			tell(c, p)
			if user == "" || c.User == user || acting[subscribers[j]] {
				list = append(list, *c)
			}
		}
	}
	slices.SortFunc(list, urgency)
	return len(list), list[:min(limit, len(list))]
}

// tell adds what the hub knows of a client.
func tell(c *instances.Client, p notifier.Presence) {
	c.User = cmp.Or(p.User, c.User)
	c.Subscriptions, c.State = p.Held, instances.Live
	if p.Behind {
		c.State, c.LagMS = instances.Behind, p.Lag.Milliseconds()
	}
}

// urgency orders clients by how much an operator may want to know of them.
func urgency(a, b instances.Client) int {
	late := func(c instances.Client) int {
		if c.State == instances.Behind {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(late(a), late(b)), cmp.Compare(b.OutboxBytes, a.OutboxBytes),
		a.ConnectedAt.Compare(b.ConnectedAt), strings.Compare(a.ID, b.ID))
}

// describe tells about the connections of a slice, in some order; the subscriber of
// one that has not said what it wants is nil.
func (s *connections) describe(slice int, began time.Time) (clients []instances.Client, subscribers []*notifier.Subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.slices[slice] {
		c, subscriber := m.describe()
		c.ID = strconv.FormatUint(m.birth().serial, 10)
		c.ConnectedAt = began.Add(m.birth().uptime)
		c.OutboxEvents, c.OutboxBytes = m.waiting()
		clients, subscribers = append(clients, c), append(subscribers, subscriber)
	}
	return clients, subscribers
}

func (c *conn) describe() (instances.Client, *notifier.Subscriber) {
	return instances.Client{Protocol: c.codec.name(), User: c.place.user, Address: c.address()}, c.known()
}

// address is the client's, with its port unless a proxy is between.
func (c *conn) address() string {
	socket := c.wire.RemoteAddr().String()
	host, _, err := net.SplitHostPort(socket)
	if told := c.peer.address.String(); c.peer.address.IsValid() && (err != nil || strings.TrimPrefix(host, "::ffff:") != told) {
		return told
	}
	return socket
}

func (st *stream) describe() (instances.Client, *notifier.Subscriber) {
	return instances.Client{Protocol: "sse", User: st.viewer.User, Address: st.remote}, st.known()
}

// known returns who the client is for the hub; nil if it has not said what it wants.
func (d *delivery) known() *notifier.Subscriber {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.subscriber
}
