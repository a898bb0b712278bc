//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

const (
	behindRate  = 5000 // events a second, in transactions of so many
	behindRows  = 10
	slowPause   = 100 * time.Millisecond
	slowBuffer  = 4 << 10 // of its socket, so that little waits there
	othersCount = 100
)

// measureSlowClient measures what a client that reads a few events a second costs
// others who get everything, and itself.
func (b *bench) measureSlowClient(ctx context.Context) error {
	url, err := b.cluster.database(ctx, "bench_behind")
	if err != nil {
		return err
	}
	t := &table{
		title: fmt.Sprintf("(h) milliseconds from commit to %d clients, %s events/s, %d a transaction, to each in turn (%v a run, rounds: %d)",
			othersCount, number(behindRate, 0), behindRows, b.latencyRun, b.rounds),
		header: []string{"", "p50", "p99", "max"},
	}
	var results [2][3]series
	var memory series
	for round := range b.rounds {
		for with := range 2 {
			b.say("slow client, round %d of %d: %s", round+1, b.rounds, []string{"without", "with it"}[with])
			r, err := b.runBeside(ctx, url, with == 1)
			if err != nil {
				return err
			}
			for i, share := range []float64{0.5, 0.99, 1} {
				results[with][i] = append(results[with][i], percentile(r.latencies, share))
			}
			if with == 1 {
				memory = append(memory, float64(r.waiting)/(1<<10))
			}
		}
	}
	for with, name := range []string{"alone", "beside a client that reads one of all events in 100 ms"} {
		t.add(name, results[with][0].cell(2), results[with][1].cell(2), results[with][2].cell(2))
	}
	t.note("What waited for the slow client in the server, at most: %s KiB of the 8 MiB it may. It then read on and had every event, once.", memory.cell(0))
	return t.print(b.out)
}

// besides is what one run has shown.
type besides struct {
	latencies []float64
	waiting   int64 // the most bytes in all outboxes
}

func (b *bench) runBeside(ctx context.Context, url string, slow bool) (r besides, err error) {
	admin, err := freeAddress()
	if err != nil {
		return r, err
	}
	s, err := b.startServer(ctx, url, openToAll, "NOTIFIER_ADMIN_ADDR="+admin, "NOTIFIER_PING_INTERVAL=4s")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	count := int(behindRate * b.latencyRun.Seconds())
	recipient := func(i int) string { return strconv.Itoa(i % othersCount) }
	arrived := newArrivals(count, 1)
	clients, err := newSwarm(ctx, s.address, othersCount, ernius(recipient), arrived)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, clients.close()) }()
	if err := b.probe(ctx, clients, url, recipient, false); err != nil {
		return r, err
	}
	var wg sync.WaitGroup
	var slowErr error
	watched, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan struct{})
	if slow {
		l, err := newLaggard(ctx, s.address)
		if err != nil {
			return r, err
		}
		defer l.close()
		wg.Go(func() { slowErr = l.follow(ctx, count, written) }) // ends when it has all
	}
	wg.Go(func() { r.waiting = mostWaiting(watched, admin) }) // ends with watched
	committed := make([]time.Duration, count)
	err = writeEach(ctx, url, behindRate/behindRows, count/behindRows, func(ctx context.Context, conn *pgx.Conn, i int) error {
		first := i*behindRows + 1
		_, err := conn.Exec(ctx, insertInTurn, first, first+behindRows-1, othersCount)
		for n := range behindRows {
			committed[first-1+n] = clock()
		}
		return err
	})
	close(written)
	if err == nil {
		err = clients.awaitEvents(ctx, int64(count))
	}
	stop()
	wg.Wait()
	if err := errors.Join(err, slowErr); err != nil {
		return r, err
	}
	r.latencies = arrived.latencies(committed)
	slices.Sort(r.latencies)
	return r, b.cluster.exec(ctx, url, emptyLog()...)
}

// laggard is a client of DRP that has registered for everything and takes its time.
type laggard struct {
	fd     int
	buffer []byte
	rest   []byte
	seen   map[uint64]bool
}

func newLaggard(ctx context.Context, address string) (*laggard, error) {
	fd, err := subscribe(ctx, address, "/api/v3/ws", []byte("register message.*.*"), slowBuffer)
	if err != nil {
		return nil, err
	}
	err = unix.SetNonblock(fd, false)
	return &laggard{fd: fd, buffer: make([]byte, 512), seen: make(map[uint64]bool)}, err
}

func (l *laggard) close() { closeSocket(l.fd) }

// follow reads an event after the other, slowly until all are written, and then as
// fast as it can.
func (l *laggard) follow(ctx context.Context, count int, written <-chan struct{}) error {
	forget := context.AfterFunc(ctx, func() { _ = unix.Shutdown(l.fd, unix.SHUT_RDWR) })
	defer forget()
	for len(l.seen) < count {
		before := len(l.seen)
		if err := l.read(); err != nil {
			return fmt.Errorf("the slow client, after %d events: %w", len(l.seen), err)
		}
		if len(l.seen) == before {
			continue
		}
		select {
		case <-written:
			if len(l.buffer) < receiveBuffer {
				l.buffer = make([]byte, receiveBuffer)
				_ = unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // or it takes longer
			}
		case <-time.After(time.Duration(len(l.seen)-before) * slowPause):
		}
	}
	return nil
}

func (l *laggard) read() error {
	n, err := unix.Read(l.fd, l.buffer)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return err
	case n == 0:
		return errors.New("the server ended the connection")
	}
	l.rest = append(l.rest, l.buffer[:n]...)
	for {
		f, rest, ok, err := nextFrame(l.rest)
		if err != nil || !ok {
			return err
		}
		l.rest = rest
		if err := l.take(f); err != nil {
			return err
		}
	}
}

func (l *laggard) take(f frame) error {
	switch f.opcode {
	case opPing:
		_, err := unix.Write(l.fd, appendClient(nil, opPong, f.payload))
		return err
	case opClose:
		return fmt.Errorf("the server closed: %q", f.payload)
	}
	n, _, ok, err := nextNumber(f.payload, []byte(`"Object":"`))
	if err != nil || !ok || n == probe { // not the answer to its command, nor others' probes
		return err
	}
	if l.seen[n] {
		return fmt.Errorf("event %d came twice", n)
	}
	l.seen[n] = true
	return nil
}
