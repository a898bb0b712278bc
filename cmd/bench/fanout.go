//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	fanoutID = "everybody"
	// apartInterval is the least time between two events that are sent apart.
	apartInterval = 20 * time.Millisecond
	// listRows is how many events the flat-out publisher inserts at once, and
	// window how many such lists may be on their way to any client: together
	// fewer than the events that may wait for one (4096), so none overflows.
	listRows = 1000
	window   = 4
	// coalesced is about how many bytes the limit program writes at once to
	// one socket, when it may.
	coalesced = 64 << 10
)

// fanout is one program and its subscribers, who all get every event.
type fanout struct {
	name     string
	pid      int
	clients  *swarm
	received *sequence
	sent     uint64 // number of the last event
	// one sends one event, flat many as fast as it goes.
	one  func(ctx context.Context, number uint64) error
	flat func(ctx context.Context, first uint64, count int) error

	cpu, busyCPU, rate    series
	apartBytes, flatBytes series
}

func (b *bench) measureFanout(ctx context.Context) (err error) {
	url, err := b.cluster.database(ctx, "bench_fanout")
	if err != nil {
		return err
	}
	s, err := b.startServer(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, err := b.startLimit(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	return withConn(ctx, url, func(conn *pgx.Conn) error {
		return b.compareFanout(ctx, url, conn, s, l)
	})
}

// compareFanout connects the subscribers of both programs, and runs them in
// turns.
func (b *bench) compareFanout(ctx context.Context, url string, conn *pgx.Conn, s *server, l *limit) (err error) {
	limitClients, limitGot, err := b.newFanoutSwarm(ctx, l.address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limitClients.close()) }()
	serverClients, serverGot, err := b.newFanoutSwarm(ctx, s.address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, serverClients.close()) }()
	if err := b.probe(ctx, serverClients, url, fanoutRecipient, true); err != nil {
		return err
	}
	one := b.limitFanout(l, "limit, one write per frame", limitClients, limitGot, 1)
	joined := b.limitFanout(l, "limit, frames coalesced", limitClients, limitGot, coalesced)
	notifier := &fanout{name: "notifier", pid: s.pid(), clients: serverClients, received: serverGot}
	notifier.one = func(ctx context.Context, number uint64) error {
		_, err := conn.Exec(ctx, insertNumbered, fanoutID, number)
		return err
	}
	notifier.flat = func(ctx context.Context, first uint64, count int) error {
		return insertFlat(ctx, conn, serverGot, first, count)
	}
	for round := range b.rounds {
		b.say("fanout, round %d of %d", round+1, b.rounds)
		if err := b.runRound(ctx, one, joined, notifier); err != nil {
			return err
		}
	}
	return errors.Join(b.printApart(one, notifier), b.printFlat(one, joined, notifier))
}

// runRound runs everybody once. The two limits share their subscribers, and so
// the numbers.
func (b *bench) runRound(ctx context.Context, one, joined, notifier *fanout) error {
	if err := errors.Join(b.runApart(ctx, one), b.runApart(ctx, notifier)); err != nil {
		return err
	}
	if err := b.runFlat(ctx, one); err != nil {
		return err
	}
	joined.sent = one.sent
	if err := b.runFlat(ctx, joined); err != nil {
		return err
	}
	one.sent = joined.sent
	return b.runFlat(ctx, notifier)
}

func fanoutRecipient(int) string { return fanoutID }

func (b *bench) newFanoutSwarm(ctx context.Context, address string) (*swarm, *sequence, error) {
	got := newSequence(b.subscribers, listRows)
	clients, err := newSwarm(ctx, address, b.subscribers, fanoutRecipient, got)
	return clients, got, err
}

func (b *bench) limitFanout(l *limit, name string, clients *swarm, got *sequence, bytes int) *fanout {
	return &fanout{
		name: name, pid: l.pid(), clients: clients, received: got,
		one: func(_ context.Context, number uint64) error {
			return l.order(order{"single", b.subscribers, fanoutID, number, 1, 0})
		},
		flat: func(_ context.Context, first uint64, count int) error {
			return l.order(order{"flat", b.subscribers, fanoutID, first, count, bytes})
		},
	}
}

func (b *bench) printApart(one, notifier *fanout) error {
	if wanted, got := one.apartBytes.median(), notifier.apartBytes.median(); math.Abs(wanted-got) > 0.5 { // a ping now and then
		return fmt.Errorf("the limit's frames have %.1f bytes, notifier's %.1f: nothing can be compared", wanted, got)
	}
	t := &table{
		title: fmt.Sprintf("(c) CPU microseconds per delivery, %s subscribers of one event, %d events at least %v apart (rounds: %d)",
			number(float64(b.subscribers), 0), b.apartEvents, apartInterval, b.rounds),
		header: []string{"", "CPU us", "in units of the limit"},
	}
	t.add("limit", one.cpu.cell(2), "1")
	t.add("notifier", notifier.cpu.cell(2), notifier.cpu.over(one.cpu).cell(2))
	t.note("Each event is sent when every client has got the one before: none is joined with another.")
	t.note("CPU of the whole process, user and system. The limit writes ready-made frames of the same bytes to as many sockets.")
	return t.print(b.out)
}

func (b *bench) printFlat(list ...*fanout) error {
	t := &table{
		title: fmt.Sprintf("(c) deliveries per second, flat out: %s events for each of %s subscribers (rounds: %d)",
			number(float64(b.flatEvents), 0), number(float64(b.subscribers), 0), b.rounds),
		header: []string{"", "deliveries/s", "CPU us per delivery", "bytes per delivery"},
	}
	for _, f := range list {
		t.add(f.name, f.rate.cell(0), f.busyCPU.cell(3), number(f.flatBytes.median(), 1))
	}
	t.note("notifier: a publisher inserts lists of %d rows, never more than %d lists ahead of the slowest client, so none overflows.", listRows, window)
	t.note("A list arrives in one frame, an event of the limit in a frame of its own. Postgres and the clients share this machine.")
	return t.print(b.out)
}
