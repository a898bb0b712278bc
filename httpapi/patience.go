package httpapi

import (
	"time"

	"example.com/notifier/notifier"
)

// patient is a codec whose protocol says itself how long a client may take, in
// place of [Config.FirstMessage].
type patient interface{ patience() patience }

// patience is how long a client may take to log in, how long it may then say
// nothing, and how long it stays logged in to an account after a request.
type patience struct{ login, silence, session time.Duration }

// vigil ends a connection whose client takes too long.
type vigil struct {
	timer *time.Timer
	known bool // it waits for a message, not for a login
}

// keepVigil begins to wait anew: for the next message of a client that is logged
// in. Other messages give a client no more time to log in.
func (c *conn) keepVigil() {
	p, ok := c.codec.(patient)
	if !ok {
		return
	}
	_, err := c.identify(command{})
	known := err == nil
	if c.vigil.timer != nil && !known && !c.vigil.known {
		return
	}
	limit, reason := p.patience().login, notifier.EndedByNoLogin
	if known {
		limit, reason = p.patience().silence, notifier.EndedByIdleness
	}
	c.vigil.stop()
	c.vigil = vigil{time.AfterFunc(limit, func() { c.End(reason) }), known}
}

func (v *vigil) stop() {
	if v.timer != nil {
		v.timer.Stop()
	}
}
