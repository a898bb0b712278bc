package httpapi

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// rounds is into how many slices the connections are divided: each tick of the
// heartbeat pings one, so that a connection needs no timer of its own, and they
// are not all pinged at once.
const rounds = 120

// drainPace is the least time between two connections that are closed when the
// server stops, so that few are closed at once and many do not come back to
// the next server in one moment.
const drainPace = 10 * time.Millisecond

// member is an open connection, of whatever kind.
type member interface {
	// ping does what is due in every PingInterval; only the heartbeat calls it.
	ping()
	// End ends the connection, as a [notifier.Receiver]'s.
	End(reason notifier.Ending)
	// endUnlessSubscribed ends one that has not said what it wants.
	endUnlessSubscribed(reason notifier.Ending)
	// waiting returns what waits for its client.
	waiting() (events, bytes int)
	// birth is where connections notes when it was added.
	birth() *birth
	// describe tells operators about it; it is called under the lock of
	// connections.
	describe() (instances.Client, *notifier.Subscriber)
}

// birth is when a connection was added.
type birth struct {
	tick   int           // of the heartbeat
	serial uint64        // of all connections; from 1
	uptime time.Duration // of the server
}

// connections knows every open connection, and what is due for which.
type connections struct {
	most     int
	tick     time.Duration
	deadline int // of the first message, in ticks

	open sync.WaitGroup // a count for each place taken

	rate rate // of connects

	mu         sync.Mutex
	draining   bool
	taken      int
	perUser    crowd[string]
	perAddress crowd[netip.Addr]
	paid       time.Duration // connects are, until then
	now        int           // ticks so far
	born       uint64        // connections so far
	slices     [rounds]map[member]struct{}
}

func newConnections(c Config) *connections {
	tick := max(c.PingInterval/rounds, time.Millisecond)
	return &connections{
		most:       c.MaxConnections,
		tick:       tick,
		deadline:   int((c.FirstMessage + tick - 1) / tick),
		rate:       connectRate(c),
		perUser:    newCrowd[string](c.MaxConnectionsPerUser),
		perAddress: newCrowd[netip.Addr](c.MaxConnectionsPerAddress),
	}
}

// reserve takes a place, which release gives back, or says why there is none.
// The rate comes last: who is refused anyway uses nothing of it up.
func (s *connections) reserve(address netip.Addr, uptime time.Duration) (*place, Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	paid, wait := s.rate.take(s.paid, uptime)
	switch {
	case s.draining:
		return nil, RefusedDraining
	case s.perAddress.full(address):
		return nil, RefusedPerAddress
	case s.taken >= s.most:
		return nil, RefusedConnections
	case wait > 0:
		return nil, RefusedConnects
	}
	s.paid = paid
	s.taken++
	s.open.Add(1)
	s.perAddress.enter(address)
	return &place{address: address}, ""
}

// belong has a place count as one of a user's, in place of whose it was; false:
// that user has no room for it.
func (s *connections) belong(p *place, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.user == user:
		return true
	case s.perUser.full(user):
		return false
	}
	s.perUser.leave(p.user)
	s.perUser.enter(user)
	p.user = user
	return true
}

func (s *connections) release(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perUser.leave(p.user)
	s.perAddress.leave(p.address)
	s.taken--
	s.open.Done()
}

// add begins to care for a connection; it returns false if the server stops.
func (s *connections) add(c member, uptime time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.born++
	born := birth{tick: s.now + 1, serial: s.born, uptime: uptime} // the next tick, so that no ping comes before its time
	*c.birth() = born
	at := born.tick % rounds
	if s.slices[at] == nil {
		s.slices[at] = make(map[member]struct{})
	}
	s.slices[at][c] = struct{}{}
	return !s.draining
}

func (s *connections) remove(c member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.slices[c.birth().tick%rounds], c)
}

func (s *connections) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// beat pings each connection once in every PingInterval and ends those that
// have not said in time what they want, until the context ends.
func (s *connections) beat(ctx context.Context) {
	ticker := time.NewTicker(s.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		due, late := s.turn()
		for _, c := range late {
			c.endUnlessSubscribed(notifier.EndedByDeadline)
		}
		for _, c := range due {
			c.ping()
		}
	}
}

// turn moves time on by a tick and returns who is due for a ping, and whose
// first message is.
func (s *connections) turn() (due, late []member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now++
	for c := range s.slices[s.now%rounds] {
		if s.now-c.birth().tick >= rounds {
			due = append(due, c)
		}
	}
	if s.now < s.deadline {
		return due, nil
	}
	for c := range s.slices[(s.now-s.deadline)%rounds] {
		if s.now-c.birth().tick >= s.deadline {
			late = append(late, c)
		}
	}
	return due, late
}

// drain lets no connection in any more and ends all, spread over a time.
func (s *connections) drain(window time.Duration) {
	all := s.close()
	if len(all) == 0 {
		return
	}
	pace := max(time.Microsecond, min(drainPace, window/time.Duration(len(all))))
	ticker := time.NewTicker(max(pace, time.Millisecond))
	defer ticker.Stop()
	began := time.Now()
	for done := 0; ; <-ticker.C {
		due := min(len(all), int(time.Since(began)/pace)+1)
		for _, c := range all[done:due] {
			c.End(notifier.EndedByShutdown)
		}
		if done = due; done == len(all) {
			return
		}
	}
}

func (s *connections) close() []member {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	var all []member
	for _, slice := range s.slices {
		for c := range slice {
			all = append(all, c)
		}
	}
	return all
}
