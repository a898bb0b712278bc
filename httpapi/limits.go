package httpapi

import (
	"context"
	"math"
	"net/http"
	"net/netip"
	"time"
)

// Unlimited stands for a limit that there shall not be.
const Unlimited = math.MaxInt

// connectBurst is how many seconds' worth of connects may come at once: all
// clients of another instance come together when that one stops.
const connectBurst = 5

// connectRate is that of connects, of all clients together.
func connectRate(c Config) rate { return newRate(c.MaxConnects, connectBurst*c.MaxConnects) }

// commandRate is that of the messages of one connection. A client that comes
// again subscribes at once to all that it had.
func commandRate(c Config) rate {
	return newRate(c.MaxCommands, max(c.MaxCommands, c.MaxSubscriptions))
}

// place is what a connection takes of the limits, from the handshake on. Its
// fields belong to connections.
type place struct {
	address netip.Addr // zero: not counted
	user    string     // "": not counted
	// kept says that the connection gives it back; only the handshake's
	// goroutine uses it.
	kept bool
}

// crowd counts who is there by what they have in common. What nobody has takes no
// memory, nor does anything if there is no limit.
type crowd[K comparable] struct {
	most  int
	there map[K]int
}

func newCrowd[K comparable](most int) crowd[K] { return crowd[K]{most, make(map[K]int)} }

// full reports whether no more have room. The zero key is nobody's and always has.
func (c crowd[K]) full(key K) bool { return key != *new(K) && c.there[key] >= c.most }

func (c crowd[K]) enter(key K) {
	if key != *new(K) && c.most != Unlimited {
		c.there[key]++
	}
}

func (c crowd[K]) leave(key K) {
	if c.there[key]--; c.there[key] <= 0 {
		delete(c.there, key)
	}
}

// household returns what counts as one address. Whoever has one of IPv6 has a
// network of 64 bits, at least.
func household(address netip.Addr) netip.Addr {
	const own = 64
	if !address.Is6() {
		return address
	}
	network, err := address.Prefix(own)
	if err != nil { // not to be expected
		return address.WithZone("")
	}
	return network.Addr()
}

// placeKey is where a request's context keeps its place.
type placeKey struct{}

// door stands before everything that is done for a client that wants a
// WebSocket, above all before its token is looked at. What is no upgrade goes
// through: it is told what to ask for.
func (s *Server) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 || !asksForWebSocket(r) {
			next.ServeHTTP(w, r)
			return
		}
		taken, refused := s.takePlace(r)
		if refused != "" {
			s.turnAway(w, r, refused)
			return
		}
		defer func() {
			if !taken.kept {
				s.connections.release(taken)
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), placeKey{}, taken)))
	})
}

// takePlace takes a place for a connection that begins with this request. A proxy
// that does not say who its client is stands for many: it is not counted.
func (s *Server) takePlace(r *http.Request) (*place, Refusal) {
	if s.config.Hub.Point().To.Xmax() == 0 {
		return nil, RefusedStarting // a subscription would not know where live begins
	}
	address := peerOf(r).address
	if s.config.Proxies.Has(address) {
		address = netip.Addr{}
	}
	return s.connections.reserve(household(address), s.uptime())
}

// uptime is what rates are reckoned by.
func (s *Server) uptime() time.Duration { return time.Since(s.began) }

// placeOf returns the place that the door has taken for a request.
func placeOf(r *http.Request) *place {
	taken, _ := r.Context().Value(placeKey{}).(*place)
	return taken
}

// countsAs returns as which user a caller's connection counts that acts for that
// one: those who are anonymous are many.
func (c caller) countsAs(user string) string {
	if c.open && user == anonymous {
		return ""
	}
	return user
}

// countsNow returns the same for a handshake. Who may act for others is counted
// when it says for whom, unless it has no place to say so.
func (c caller) countsNow() string {
	if c.unrestricted() && !c.admitted {
		return ""
	}
	return c.countsAs(c.User)
}

// countFor has the connection count as one of a user's, in place of whose it was.
// It fails with errCrowded.
func (c *conn) countFor(who caller, user string) error {
	if !c.server.connections.belong(c.place, who.countsAs(user)) {
		return errCrowded
	}
	return nil
}

// pay waits, after a message, until the client may send the next: what it sends
// meanwhile stays with it. To have been read is a sign of life.
func (c *conn) pay() {
	var wait time.Duration
	if c.paid, wait = c.server.commands.take(c.paid, c.server.uptime()); wait == 0 {
		return
	}
	c.server.delayed.Add(1)
	c.socket.gave.Add(1)
	time.Sleep(wait) // a second at the most, if one is all that it may send in one
}

// DelayedCommands returns how many messages have been answered whose client had
// to wait then, because it has sent more than it may.
func (s *Server) DelayedCommands() uint64 { return s.delayed.Load() }
