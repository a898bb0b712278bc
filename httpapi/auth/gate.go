package auth

import (
	"context"
	"slices"
	"sync"
)

// gate bounds how many passwords are hashed at once, and decides who is next.
// Hashing is slow on purpose, so an attack can always ask for more of it than
// there is; the gate sees to it that others don't wait for the attack:
//
//   - users take turns, so those who guess one user's password, from however
//     many addresses, wait for each other only;
//   - who has logged in from the same network before goes first, mostly, and one
//     place is kept for such people.
//
// What remains is an attack on very many users from very many networks, which
// can keep out those who come from where they never were, while it lasts.
type gate struct {
	mu        sync.Mutex
	places    int
	strict    int // of these, what strangers may have
	known     lane
	strangers lane
	row       int // known people let in, one after the other, while strangers waited
}

// lane is who waits of one sort, by user.
type lane struct {
	queues  map[string][]*waiter
	turns   []string // the users who have somebody waiting, who is next first
	waiting int
	inside  int
}

type waiter struct {
	user    string
	entered chan struct{} // closed when it may hash
}

const (
	maxWaitingUser = 16   // of each sort
	maxWaitingAll  = 1024 // of each sort
	// maxRow keeps somebody with one right password from shutting out all who
	// are not known yet.
	maxRow = 4
)

// newGate returns a gate with some places, of which strangers may have all but
// one, if there is more than one.
func newGate(places int) *gate {
	g := &gate{places: places, strict: max(1, places-1)}
	g.known.queues = map[string][]*waiter{}
	g.strangers.queues = map[string][]*waiter{}
	return g
}

// enter waits for a place; who gets one must leave. The error is [ErrBusy] or
// the context's cause.
func (g *gate) enter(ctx context.Context, user string, known bool) error {
	w := &waiter{user: user, entered: make(chan struct{})}
	if !g.queue(w, known) {
		return ErrBusy
	}
	select {
	case <-w.entered:
		return nil
	case <-ctx.Done():
		g.giveUp(w, known)
		return context.Cause(ctx)
	}
}

func (g *gate) leave(known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaveLocked(known)
}

func (g *gate) leaveLocked(known bool) {
	g.lane(known).inside--
	g.admitLocked()
}

func (g *gate) queue(w *waiter, known bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	ok := g.lane(known).add(w)
	g.admitLocked()
	return ok
}

func (g *gate) giveUp(w *waiter, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.entered: // just now, too late
		g.leaveLocked(known)
	default:
		g.lane(known).remove(w)
	}
}

func (g *gate) lane(known bool) *lane {
	if known {
		return &g.known
	}
	return &g.strangers
}

// admitLocked gives the free places to who is next.
func (g *gate) admitLocked() {
	for g.known.inside+g.strangers.inside < g.places {
		stranger := g.strangers.waiting > 0 && g.strangers.inside < g.strict
		switch {
		case g.known.waiting > 0 && (!stranger || g.row < maxRow):
			g.known.admit()
			g.row++
		case stranger:
			g.strangers.admit()
			g.row = 0
		default:
			return
		}
	}
}

func (l *lane) add(w *waiter) bool {
	own := l.queues[w.user]
	if len(own) >= maxWaitingUser || l.waiting >= maxWaitingAll {
		return false
	}
	if len(own) == 0 {
		l.turns = append(l.turns, w.user)
	}
	l.queues[w.user] = append(own, w)
	l.waiting++
	return true
}

// admit lets in the first waiter of the user whose turn it is, and puts the
// user at the end if more wait.
func (l *lane) admit() {
	w := l.queues[l.turns[0]][0]
	more := len(l.queues[w.user]) > 1
	l.remove(w)
	if more {
		l.turns = append(l.turns[1:], w.user)
	}
	l.inside++
	close(w.entered)
}

func (l *lane) remove(w *waiter) {
	l.waiting--
	rest := slices.DeleteFunc(l.queues[w.user], func(other *waiter) bool { return other == w })
	if len(rest) > 0 {
		l.queues[w.user] = rest
		return
	}
	delete(l.queues, w.user)
	l.turns = slices.DeleteFunc(l.turns, func(user string) bool { return user == w.user })
}
