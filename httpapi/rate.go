package httpapi

import (
	"math"
	"time"
)

// rate is how often something may happen. It needs no timer, and of whom it
// limits a single value: the moment at which all that has happened would be paid
// for, had it happened evenly.
type rate struct {
	each  time.Duration // the price of one; 0: it may happen as often as one likes
	ahead time.Duration // how far ahead of that moment one may be
}

// newRate lets so many happen in a second, and after a pause that many at once.
func newRate(perSecond, atOnce int) rate {
	each := time.Second / time.Duration(perSecond) // none, if it is unlimited
	return rate{each, each * time.Duration(min(atOnce, math.MaxInt32))}
}

// take lets one happen, paid until then, and returns until when all is paid then
// and how long that one has to wait.
func (r rate) take(paid, now time.Duration) (after, wait time.Duration) {
	if r.each == 0 {
		return paid, 0 // also for who looked at the clock before somebody else and comes after
	}
	after = max(paid, now) + r.each
	return after, max(0, after-now-r.ahead)
}
