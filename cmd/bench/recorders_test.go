//go:build linux

package main

import (
	"testing"
	"time"
)

func TestSequence(t *testing.T) {
	t.Parallel()
	q := newSequence(2, 2)
	record := func(client int, number uint64, good bool) {
		t.Helper()
		if err := q.record(client, number, 0); (err == nil) != good {
			t.Errorf("client %d, event %d: %v", client, number, err)
		}
	}
	record(0, 1, true)
	record(0, 1, false) // twice
	record(0, 3, false) // a hole
	record(0, 2, true)
	if q.complete.Load() != 0 {
		t.Error("a list is complete that one client lacks")
	}
	record(1, 1, true)
	record(1, 2, true)
	if q.complete.Load() != 1 || len(q.rung) != 1 {
		t.Errorf("%d lists are complete, rung %d", q.complete.Load(), len(q.rung))
	}
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	a := newArrivals(2, 2)
	for i, number := range []uint64{1, 1, 2, 2} {
		if err := a.record(i%2, number, time.Duration(10*i+10)*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if a.record(0, 1, time.Millisecond) == nil {
		t.Error("an event came twice")
	}
	if a.record(0, 3, time.Millisecond) == nil {
		t.Error("an event came that was not sent")
	}
	got := a.latencies([]time.Duration{15 * time.Millisecond, 30 * time.Millisecond})
	for i, want := range []float64{0, 5, 0, 10} {
		if got[i] != want {
			t.Errorf("latencies are %v", got)
		}
	}
}
