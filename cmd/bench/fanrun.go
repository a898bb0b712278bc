//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// outcome is what one run of a program took, from the first event sent to the
// last one received.
type outcome struct {
	took, cpu  time.Duration // cpu: of the program alone
	bytes      int64         // received by all clients
	deliveries int64
}

// microseconds returns the CPU time of a delivery.
func (o outcome) microseconds() float64 { return o.cpu.Seconds() * 1e6 / float64(o.deliveries) }

func (o outcome) perSecond() float64 { return float64(o.deliveries) / o.took.Seconds() }

func (o outcome) bytesEach() float64 { return float64(o.bytes) / float64(o.deliveries) }

// run sends events and waits until every client has them all.
func (f *fanout) run(ctx context.Context, count int, send sender) (o outcome, err error) {
	o.deliveries = int64(count * len(f.clients.clients))
	bytes, events, start := f.clients.bytes.Load(), f.clients.events.Load(), clock()
	o.cpu, err = cpuDuring(f.pid, func() error {
		if err := send(ctx, f.sent+1, count); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return f.clients.awaitEvents(ctx, events+o.deliveries)
	})
	if err != nil {
		return o, fmt.Errorf("%s: %w", f.name, err)
	}
	o.took = time.Duration(f.clients.last.Load()) - start
	o.bytes = f.clients.bytes.Load() - bytes
	f.sent += uint64(count)
	return o, f.allEqual()
}

// allEqual checks that every client has got every event. That none came twice,
// or out of order, was checked with each.
func (f *fanout) allEqual() (err error) {
	f.clients.inspect(func() {
		for i, got := range f.received.got {
			if got != f.sent {
				err = fmt.Errorf("%s: client %d has got %d events of %d", f.name, i, got, f.sent)
			}
		}
	})
	return err
}

// runApart measures the CPU that a delivery costs.
func (b *bench) runApart(ctx context.Context, f *fanout) error {
	f.clients.nap.Store(int64(apartNap))
	defer f.clients.nap.Store(0)
	o, err := f.run(ctx, b.apartEvents, f.sendApart)
	f.cpu = append(f.cpu, o.microseconds())
	f.bytes = append(f.bytes, o.bytesEach())
	return err
}

// sendApart sends an event when every client has the one before. Otherwise a
// program that was late would write two at once, and seem cheap for that.
func (f *fanout) sendApart(ctx context.Context, first uint64, count int) error {
	events := f.clients.events.Load()
	return pace(ctx, count, apartInterval, func(i int) error {
		if err := f.one(ctx, first+uint64(i)); err != nil {
			return err
		}
		events += int64(len(f.clients.clients))
		return f.clients.awaitEvents(ctx, events)
	})
}

// runFlat measures how many deliveries a second there can be.
func (b *bench) runFlat(ctx context.Context, f *fanout, m *mode) error {
	o, err := f.run(ctx, b.flatEvents, m.send)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.rate = append(m.rate, o.perSecond())
	m.cpu = append(m.cpu, o.microseconds())
	m.bytes = append(m.bytes, o.bytesEach())
	return nil
}

func insertOne(ctx context.Context, conn *pgx.Conn, number uint64) error {
	_, err := conn.Exec(ctx, insertNumbered, fanoutID, number)
	return err
}

// insertSingles commits events one by one, each as soon as the window allows,
// without waiting for the disk: it is not the disk that is measured.
func insertSingles(ctx context.Context, conn *pgx.Conn, received *sequence, first uint64, count int) error {
	if _, err := conn.Exec(ctx, commitAtOnce); err != nil {
		return err
	}
	for number := first; number < first+uint64(count); number++ {
		if err := received.awaitWindow(ctx, number); err != nil {
			return err
		}
		if err := insertOne(ctx, conn, number); err != nil {
			return err
		}
	}
	_, err := conn.Exec(ctx, commitDurably)
	return err
}

// insertLists commits lists of events, each as soon as the window allows.
func insertLists(ctx context.Context, conn *pgx.Conn, received *sequence, first uint64, count int) error {
	last := first + uint64(count) - 1
	for from := first; from <= last; from += listRows {
		to := min(from+listRows-1, last)
		if err := received.awaitWindow(ctx, to); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, insertList, fanoutID, from, to); err != nil {
			return fmt.Errorf("insert list: %w", err)
		}
	}
	return nil
}

// awaitWindow waits until no more than the window's events are on their way to
// any client, that number included.
func (q *sequence) awaitWindow(ctx context.Context, number uint64) error {
	if number <= q.windowEnd() {
		return nil
	}
	patience := time.NewTimer(patience)
	defer patience.Stop()
	for number > q.windowEnd() {
		select {
		case <-q.rung:
		case <-patience.C:
			return errors.New("the clients don't get what was sent")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (q *sequence) windowEnd() uint64 { return uint64(q.complete.Load()+window) * listRows }
