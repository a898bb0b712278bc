//go:build linux

package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// sequence expects every client to get every event, in order.
type sequence struct {
	listRows int // how many events make a list
	got      []uint64
	lists    []int // how many clients have each list whole
	complete atomic.Int64
	rung     chan struct{} // has a token after complete has changed
}

func newSequence(clients, listRows int) *sequence {
	return &sequence{listRows: listRows, got: make([]uint64, clients), rung: make(chan struct{}, 1)}
}

func (q *sequence) record(client int, number uint64, _ time.Duration) error {
	if number != q.got[client]+1 {
		return fmt.Errorf("event %d came after event %d", number, q.got[client])
	}
	q.got[client] = number
	if number%uint64(q.listRows) == 0 {
		q.finish(int(number) / q.listRows)
	}
	return nil
}

// finish counts a client that has a list whole.
func (q *sequence) finish(list int) {
	for len(q.lists) < list {
		q.lists = append(q.lists, 0)
	}
	q.lists[list-1]++
	if q.lists[list-1] < len(q.got) {
		return
	}
	q.complete.Store(int64(list))
	select {
	case q.rung <- struct{}{}:
	default:
	}
}

// arrivals notes when each event came.
type arrivals struct {
	fan int // how many clients get each event: one, or all
	at  []time.Duration
}

func newArrivals(events, fan int) *arrivals {
	return &arrivals{fan: fan, at: make([]time.Duration, events*fan)}
}

func (a *arrivals) record(client int, number uint64, at time.Duration) error {
	place := int(number-1) * a.fan
	if a.fan > 1 {
		place += client
	}
	if place >= len(a.at) {
		return fmt.Errorf("event %d was never sent", number)
	}
	if a.at[place] != 0 {
		return fmt.Errorf("event %d came twice", number)
	}
	a.at[place] = at
	return nil
}

// latencies returns the milliseconds between the return of each event's commit
// and each of its arrivals. An event may arrive before its writer has learned
// of the commit: that counts as 0.
func (a *arrivals) latencies(committed []time.Duration) []float64 {
	all := make([]float64, len(a.at))
	for i, at := range a.at {
		all[i] = max(0, float64(at-committed[i/a.fan])/float64(time.Millisecond))
	}
	return all
}
