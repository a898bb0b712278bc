//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// warmUp is how many clients come and go before memory is first read, so that
// the many are not charged for code and pools that any client needs.
const warmUp = 50

func (b *bench) measureMemory(ctx context.Context) error {
	var results [2]series
	for round := range b.memoryRounds {
		b.say("memory, round %d of %d: %d idle subscribers, twice %v and more", round+1, b.memoryRounds, b.idle, b.settle)
		perLimit, err := b.limitMemory(ctx)
		if err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		perServer, err := b.serverMemory(ctx, fmt.Sprintf("bench_memory%d", round))
		if err != nil {
			return fmt.Errorf("notifier: %w", err)
		}
		results[0] = append(results[0], perLimit)
		results[1] = append(results[1], perServer)
	}
	t := &table{
		title:  fmt.Sprintf("(d) resident KiB per idle subscriber, %s subscribers", number(float64(b.idle), 0)),
		header: []string{"", "KiB", "in units of the limit"},
	}
	t.add("limit, a goroutine per connection", results[0].cell(1), "1")
	t.add("notifier", results[1].cell(1), results[1].over(results[0]).cell(2))
	t.note("Growth of VmRSS, read %v after the last subscriber came. Then an event went to each: all got it.", b.settle)
	return t.print(b.out)
}

func (b *bench) limitMemory(ctx context.Context) (perClient float64, err error) {
	l, err := b.startLimit(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return b.idleMemory(ctx, l.pid(), l.address, func(n int, _ func(int) string) error {
		return l.order(order{"single", n, "idle", 1, 1, 0})
	})
}

func (b *bench) serverMemory(ctx context.Context, database string) (perClient float64, err error) {
	url, err := b.cluster.database(ctx, database)
	if err != nil {
		return 0, err
	}
	s, err := b.startServer(ctx, url, openToAll)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return b.idleMemory(ctx, s.pid(), s.address, func(n int, recipient func(int) string) error {
		return insertOneEach(ctx, url, n, recipient, 1)
	})
}

// idleMemory measures what a process needs for each of many clients. send
// publishes event 1 to n of them.
func (b *bench) idleMemory(ctx context.Context, pid int, address string, send func(n int, recipient func(int) string) error) (float64, error) {
	if _, err := residentWith(ctx, pid, address, warmUp, 0, send); err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	if err := pass(ctx, b.settle); err != nil {
		return 0, err
	}
	before, err := residentMemory(pid)
	if err != nil {
		return 0, err
	}
	after, err := residentWith(ctx, pid, address, b.idle, b.settle, send)
	return float64(after-before) / float64(b.idle) / 1024, err
}

// residentWith connects clients, lets time pass, reads the memory, and has an
// event delivered to each: otherwise who knows whether they were there.
func residentWith(
	ctx context.Context, pid int, address string, n int, settle time.Duration, send func(int, func(int) string) error,
) (resident int64, err error) {
	recipient := func(i int) string { return fmt.Sprintf("idle-%d-%d", n, i) }
	clients, err := newSwarm(ctx, address, n, ernius(recipient), newSequence(n, 1))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, clients.close()) }()
	if err := pass(ctx, settle); err != nil {
		return 0, err
	}
	if resident, err = residentMemory(pid); err != nil {
		return 0, err
	}
	if err := send(n, recipient); err != nil {
		return 0, err
	}
	return resident, clients.awaitEvents(ctx, int64(n))
}

// pass waits; what a runtime gives back, it gives back in its own time.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
