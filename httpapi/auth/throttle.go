package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// ThrottleConfig is what a [Throttle] is made from. Zero means the default.
type ThrottleConfig struct {
	// Free is how many logins of a user from one network may fail before the
	// next is delayed; default 5. A network as a whole has ten times as many.
	Free int
	// FirstDelay is the delay then, each further failure doubles it, up to
	// LastDelay; defaults 1 s and 5 minutes.
	FirstDelay time.Duration
	LastDelay  time.Duration
	// Forget is the time without a failure after which all are forgotten;
	// default 1 hour.
	Forget time.Duration
	// Entries bounds the failures and, apart from them, the successes
	// remembered; default 65,536, about 10 MB each.
	Entries int
	// Clock tells the time; default [time.Now].
	Clock func() time.Time
}

// Throttle slows down the guessing of passwords. It counts failures per user
// and network, and per network, but never per user alone: nobody can lock out
// another by failing in their name from elsewhere. A network is an IPv4 address
// or the /64 of an IPv6 one. Loopback is a network like others, because proxies
// may come from there.
//
// Who has logged in from a network is known there: for them the network's own
// count does not matter, so that one bad neighbour does not shut out an office.
type Throttle struct {
	config ThrottleConfig
	seed   maphash.Seed

	mu       sync.Mutex
	failures *lru[origin, *record]
	known    *lru[origin, struct{}]
}

// origin is a user at a network, or the whole network. The user is a hash: a
// long name takes no more memory, and names can't be made to collide.
type origin struct {
	user    uint64
	whole   bool
	network netip.Prefix
}

type record struct {
	failures int
	last     time.Time
	until    time.Time // no try before
	trying   int       // tries that have not ended
}

const (
	networkFactor = 10
	// knownTries is how many tries may be under way of somebody who is known:
	// clients that send the password with every request send several at once.
	knownTries = 32
)

// NewThrottle returns a throttle that remembers nothing yet.
func NewThrottle(c ThrottleConfig) *Throttle {
	c.Free = orDefault(c.Free, 5)
	c.FirstDelay = orDefault(c.FirstDelay, time.Second)
	c.LastDelay = orDefault(c.LastDelay, 5*time.Minute)
	c.Forget = orDefault(c.Forget, time.Hour)
	c.Entries = orDefault(c.Entries, 1<<16)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return &Throttle{
		config: c, seed: maphash.MakeSeed(),
		failures: newLRU[origin, *record](c.Entries), known: newLRU[origin, struct{}](c.Entries),
	}
}

// Try is one login that is being tried; it must end once, by one of its
// methods.
type Try struct {
	throttle *Throttle
	pair     origin
	own, net *record // net is nil for who is known
	known    bool
}

// Begin starts a try, or returns a [ThrottledError].
func (t *Throttle) Begin(user string, address netip.Addr) (*Try, error) {
	pair := t.origin(user, address)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.config.Clock()
	_, known := t.known.get(pair)
	try := &Try{throttle: t, pair: pair, own: t.recordLocked(pair, now), known: known}
	tries := t.config.Free
	if known {
		tries = knownTries
	}
	if wait := try.own.wait(now, tries); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	if !known {
		try.net = t.recordLocked(origin{whole: true, network: pair.network}, now)
		if wait := try.net.wait(now, t.config.Free*networkFactor); wait > 0 {
			return nil, &ThrottledError{RetryAfter: wait}
		}
		try.net.trying++
	}
	try.own.trying++
	return try, nil
}

// wait returns how long the next try must wait. Tries under way count as if
// they had failed, or a guesser would send all guesses at once.
func (r *record) wait(now time.Time, tries int) time.Duration {
	if wait := r.until.Sub(now); wait > 0 {
		return wait
	}
	if r.trying >= max(1, tries-r.failures) {
		return time.Second
	}
	return 0
}

// recordLocked finds or makes a record. Failures that are long past are
// forgotten.
func (t *Throttle) recordLocked(o origin, now time.Time) *record {
	if r, ok := t.failures.get(o); ok {
		if r.trying > 0 || now.Sub(r.last) < t.config.Forget {
			return r
		}
	}
	r := &record{last: now}
	t.failures.put(o, r)
	return r
}

// Succeeded ends a try: the password was right.
func (try *Try) Succeeded() {
	t := try.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	try.endLocked()
	try.own.failures, try.own.until = 0, time.Time{}
	if try.own.trying == 0 {
		t.failures.remove(try.pair)
	}
	t.known.put(try.pair, struct{}{})
}

// Failed ends a try: the password was wrong.
func (try *Try) Failed() {
	t := try.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	try.endLocked()
	now := t.config.Clock()
	t.countLocked(try.own, now, t.config.Free)
	if try.net != nil {
		t.countLocked(try.net, now, t.config.Free*networkFactor)
	}
}

// Abandoned ends a try of which nobody knows what it would have been.
func (try *Try) Abandoned() {
	try.throttle.mu.Lock()
	defer try.throttle.mu.Unlock()
	try.endLocked()
}

// Known tells whether this user has logged in from this network before.
func (try *Try) Known() bool { return try.known }

func (try *Try) endLocked() {
	try.own.trying--
	if try.net != nil {
		try.net.trying--
	}
}

func (t *Throttle) countLocked(r *record, now time.Time, free int) {
	r.failures++
	r.last = now
	if beyond := r.failures - free; beyond >= 0 {
		r.until = now.Add(min(t.config.FirstDelay<<min(beyond, 20), t.config.LastDelay))
	}
}

func (t *Throttle) origin(user string, address netip.Addr) origin {
	return origin{user: maphash.String(t.seed, user), network: networkOf(address)}
}

// networkOf returns the address, or what one customer has of IPv6.
func networkOf(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	network, _ := address.Prefix(bits) // the zero prefix for no address
	return network
}
