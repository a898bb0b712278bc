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
	// apartNap lets the clients, of both programs, read at once what has come
	// in a while, instead of being woken by each write.
	apartNap = time.Millisecond
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
	// one sends one event.
	one   func(ctx context.Context, number uint64) error
	modes []*mode

	cpu, bytes series // of a delivery, events apart
}

// mode is a way to send many events as fast as it goes.
type mode struct {
	name string
	send sender

	rate, cpu, bytes series
}

type sender func(ctx context.Context, first uint64, count int) error

func (b *bench) measureFanout(ctx context.Context) (err error) {
	url, err := b.cluster.database(ctx, "bench_fanout")
	if err != nil {
		return err
	}
	s, err := b.startServer(ctx, url, openToAll)
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

// compareFanout connects the subscribers of both programs, and runs the
// programs in turns.
func (b *bench) compareFanout(ctx context.Context, url string, conn *pgx.Conn, s *server, l *limit) (err error) {
	least, err := b.limitFanout(ctx, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, least.clients.close()) }()
	notifier, err := b.serverFanout(ctx, s, conn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, notifier.clients.close()) }()
	if err := b.probe(ctx, notifier.clients, url, fanoutRecipient, true); err != nil {
		return err
	}
	for round := range b.rounds {
		b.say("fanout, round %d of %d", round+1, b.rounds)
		if err := b.runRound(ctx, least, notifier); err != nil {
			return err
		}
	}
	return errors.Join(b.printApart(least, notifier), b.printFlat(least, notifier))
}

func (b *bench) runRound(ctx context.Context, programs ...*fanout) error {
	for _, f := range programs {
		if err := b.runApart(ctx, f); err != nil {
			return err
		}
	}
	for _, f := range programs {
		for _, m := range f.modes {
			if err := b.runFlat(ctx, f, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func fanoutRecipient(int) string { return fanoutID }

func (b *bench) newFanout(ctx context.Context, name, address string, pid int) (*fanout, error) {
	got := newSequence(b.subscribers, listRows)
	clients, err := newSwarm(ctx, address, b.subscribers, ernius(fanoutRecipient), got)
	return &fanout{name: name, pid: pid, clients: clients, received: got}, err
}

func (b *bench) limitFanout(ctx context.Context, l *limit) (*fanout, error) {
	f, err := b.newFanout(ctx, "limit", l.address, l.pid())
	if err != nil {
		return nil, err
	}
	f.one = func(_ context.Context, number uint64) error {
		return l.order(order{"single", b.subscribers, fanoutID, number, 1, 0})
	}
	flat := func(bytes int) sender {
		return func(_ context.Context, first uint64, count int) error {
			return l.order(order{"flat", b.subscribers, fanoutID, first, count, bytes})
		}
	}
	f.modes = []*mode{{name: "one write per frame", send: flat(1)}, {name: "frames coalesced", send: flat(coalesced)}}
	return f, nil
}

func (b *bench) serverFanout(ctx context.Context, s *server, conn *pgx.Conn) (*fanout, error) {
	f, err := b.newFanout(ctx, "notifier", s.address, s.pid())
	if err != nil {
		return nil, err
	}
	f.one = func(ctx context.Context, number uint64) error { return insertOne(ctx, conn, number) }
	f.modes = []*mode{
		{name: "a transaction per event", send: func(ctx context.Context, first uint64, count int) error {
			return insertSingles(ctx, conn, f.received, first, count)
		}},
		{name: fmt.Sprintf("lists of %d events", listRows), send: func(ctx context.Context, first uint64, count int) error {
			return insertLists(ctx, conn, f.received, first, count)
		}},
	}
	return f, nil
}

func (b *bench) printApart(least, notifier *fanout) error {
	if wanted, got := least.bytes.median(), notifier.bytes.median(); math.Abs(wanted-got) > 0.5 { // a ping now and then
		return fmt.Errorf("the limit's frames have %.1f bytes, notifier's %.1f: nothing can be compared", wanted, got)
	}
	t := &table{
		title: fmt.Sprintf("(c) CPU microseconds per delivery, %s subscribers of one event, %d events at least %v apart (rounds: %d)",
			number(float64(b.subscribers), 0), b.apartEvents, apartInterval, b.rounds),
		header: []string{"", "CPU us", "in units of the limit"},
	}
	t.add(least.name, least.cpu.cell(2), "1")
	t.add(notifier.name, notifier.cpu.cell(2), notifier.cpu.over(least.cpu).cell(2))
	t.note("CPU of the whole process, user and system. The limit writes ready-made frames of the same bytes to as many sockets.")
	t.note("Each event is sent when every client has got the one before: none is joined with another. Clients look once in %v,", apartNap)
	t.note("lest each write wake them.")
	return t.print(b.out)
}

func (b *bench) printFlat(programs ...*fanout) error {
	t := &table{
		title: fmt.Sprintf("(c) deliveries per second, flat out: %s events for each of %s subscribers (rounds: %d)",
			number(float64(b.flatEvents), 0), number(float64(b.subscribers), 0), b.rounds),
		header: []string{"", "deliveries/s", "CPU us per delivery", "bytes per delivery"},
	}
	for _, f := range programs {
		for _, m := range f.modes {
			t.add(f.name+", "+m.name, m.rate.cell(0), m.cpu.cell(3), number(m.bytes.median(), 1))
		}
	}
	t.note("notifier: one publisher, never more than %d events ahead of the slowest client, so that none overflows.", window*listRows)
	t.note("Its single transactions do not wait for the disk (synchronous_commit off). A list arrives in one frame, any other event in a frame")
	t.note("of its own. Postgres and the clients share this machine.")
	return t.print(b.out)
}
