package client

import (
	"crypto/sha256"
	"encoding/binary"
)

// memory tells events that a new connection repeats from new ones. Events carry
// no identity in this protocol, and two may well be equal, so it counts: an
// event is new if this connection has brought it more often than was shown.
type memory struct {
	limit int
	shown map[digest]int // on all connections
	heard map[digest]int // on the present one
}

type digest [sha256.Size]byte

func newMemory(limit int) *memory {
	return &memory{limit: limit, shown: make(map[digest]int), heard: make(map[digest]int)}
}

// reconnected begins a connection.
func (m *memory) reconnected() { clear(m.heard) }

// isNew counts the event and tells whether to show it.
func (m *memory) isNew(e Event) bool {
	d := digestOf(e)
	m.heard[d]++
	if m.heard[d] <= m.shown[d] {
		return false
	}
	m.shown[d] = m.heard[d]
	return true
}

// full tells that there is too much to remember.
func (m *memory) full() bool { return len(m.shown) > m.limit }

// forget begins anew.
func (m *memory) forget() {
	clear(m.shown)
	clear(m.heard)
}

func digestOf(e Event) digest {
	text := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(e.Payload)), uint64(e.CreatedAt))
	return sha256.Sum256(append(text, e.Payload...))
}
