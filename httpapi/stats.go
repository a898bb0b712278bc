package httpapi

import (
	"sync/atomic"

	"example.com/notifier/notifier"
)

// Stats is what a server holds, and what it has done since it was made.
type Stats struct {
	// Protocols are all that there are, by name.
	Protocols map[string]ProtocolStats
	// Ended are the connections that have ended, by the reason; all reasons that
	// there are.
	Ended map[notifier.Ending]int64
	// Refused are the clients, requests and messages that were refused, by the
	// reason; all reasons that there are.
	Refused map[Refusal]uint64
	// Delayed are the messages whose client had to wait then.
	Delayed uint64
	// WaitingEvents and WaitingBytes are what the outboxes of all clients hold.
	WaitingEvents, WaitingBytes int
}

// ProtocolStats are the connections of one protocol.
type ProtocolStats struct {
	Open   int64
	Opened int64 // since the server was made
}

// Stats returns the figures of this moment. It looks at every connection, some
// hundred at a time.
func (s *Server) Stats() Stats {
	stats := Stats{
		Protocols: make(map[string]ProtocolStats, len(s.counters.protocols)),
		Ended:     make(map[notifier.Ending]int64, len(s.counters.ended)),
		Refused:   s.Refusals(),
		Delayed:   s.DelayedCommands(),
	}
	for name, p := range s.counters.protocols {
		stats.Protocols[name] = ProtocolStats{p.open.Load(), p.opened.Load()}
	}
	for reason, n := range s.counters.ended {
		stats.Ended[reason] = n.Load()
	}
	stats.WaitingEvents, stats.WaitingBytes = s.connections.waiting()
	return stats
}

// counters are those of [Stats] that are counted where things happen. The maps
// are complete when the server is made and do not change.
type counters struct {
	protocols map[string]*protocolCounters
	ended     map[notifier.Ending]*atomic.Int64
}

type protocolCounters struct{ open, opened atomic.Int64 }

func newCounters() counters {
	c := counters{
		protocols: make(map[string]*protocolCounters),
		ended:     make(map[notifier.Ending]*atomic.Int64, len(closings)),
	}
	for reason := range closings {
		c.ended[reason] = new(atomic.Int64)
	}
	return c
}

// protocol returns a protocol's counters. It is for the table of routes: one
// protocol may have several.
func (c *counters) protocol(name string) *protocolCounters {
	if c.protocols[name] == nil {
		c.protocols[name] = new(protocolCounters)
	}
	return c.protocols[name]
}

// began counts a connection.
func (p *protocolCounters) began() {
	p.opened.Add(1)
	p.open.Add(1)
}

// end counts the end of one that began.
func (c *counters) end(p *protocolCounters, reason notifier.Ending) {
	p.open.Add(-1)
	if n := c.ended[reason]; n != nil {
		n.Add(1)
	}
}

// waiting returns what all outboxes hold together.
func (s *connections) waiting() (events, bytes int) {
	for i := range s.slices {
		e, b := s.waitingIn(i)
		events, bytes = events+e, bytes+b
	}
	return events, bytes
}

func (s *connections) waitingIn(slice int) (events, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.slices[slice] {
		e, b := c.waiting()
		events, bytes = events+e, bytes+b
	}
	return events, bytes
}
