package httpapi

import (
	"testing"
	"time"
)

// Requests look at the clock and then take in another order.
func TestRate_WithoutALimitNobodyWaits(t *testing.T) {
	t.Parallel()
	r := newRate(Unlimited, Unlimited)
	paid, _ := r.take(0, 2*time.Second)
	if _, wait := r.take(paid, time.Second); wait != 0 {
		t.Errorf("one that came in between waits %v", wait)
	}
}
