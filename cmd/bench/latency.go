//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// traffic is a kind of load whose latency is measured.
type traffic struct {
	name string
	rate int // events a second
	all  bool
}

// latencyConnections is how many connections write: enough that a slow commit
// does not hold up the next.
const latencyConnections = 16

func (b *bench) measureLatency(ctx context.Context) error {
	url, err := b.cluster.database(ctx, "bench_latency")
	if err != nil {
		return err
	}
	s, err := b.startServer(ctx, url, openToAll)
	if err != nil {
		return err
	}
	return errors.Join(b.compareLatency(ctx, s, url), s.close())
}

func (b *bench) compareLatency(ctx context.Context, s *server, url string) error {
	kinds := []traffic{{"each for one", 1000, false}, {"each for all", 20, true}}
	results := make([][3]series, len(kinds))
	for round := range b.rounds {
		for i, kind := range kinds {
			b.say("latency, round %d of %d: %d events/s, %s of %d", round+1, b.rounds, kind.rate, kind.name, b.subscribers)
			all, err := b.runLatency(ctx, s, url, kind, fmt.Sprintf("l%d-%d-", round, i))
			if err != nil {
				return fmt.Errorf("%d events/s, %s: %w", kind.rate, kind.name, err)
			}
			for column, value := range []float64{percentile(all, 0.5), percentile(all, 0.99), all[len(all)-1]} {
				results[i][column] = append(results[i][column], value)
			}
		}
	}
	t := &table{
		title:  fmt.Sprintf("(b) milliseconds from commit to client, %s subscribers (%v a run, rounds: %d)", number(float64(b.subscribers), 0), b.latencyRun, b.rounds),
		header: []string{"events/s", "recipients", "p50", "p99", "max"},
	}
	for i, kind := range kinds {
		t.add(strconv.Itoa(kind.rate), kind.name, results[i][0].cell(2), results[i][1].cell(2), results[i][2].cell(2))
	}
	t.note("From the return of the writer's commit to the client's read. What arrives before its writer has heard of the commit counts as 0.")
	t.note("Writers keep to a constant rate, whatever is late. Transactions of one row; all clients share this machine.")
	return t.print(b.out)
}

// runLatency measures one run and returns every latency, sorted.
func (b *bench) runLatency(ctx context.Context, s *server, url string, kind traffic, prefix string) (all []float64, err error) {
	recipient := func(i int) string { return prefix + strconv.Itoa(i%b.subscribers) }
	fan := 1
	if kind.all {
		recipient = func(int) string { return prefix + "all" }
		fan = b.subscribers
	}
	count := max(1, int(float64(kind.rate)*b.latencyRun.Seconds()))
	arrived := newArrivals(count, fan)
	clients, err := newSwarm(ctx, s.address, b.subscribers, ernius(recipient), arrived)
	if err != nil {
		return nil, err
	}
	committed := make([]time.Duration, count)
	err = b.probe(ctx, clients, url, recipient, kind.all)
	if err == nil {
		err = writeAtRate(ctx, url, kind.rate, recipient, committed)
	}
	if err == nil {
		err = clients.awaitEvents(ctx, int64(count*fan))
	}
	if err := errors.Join(err, clients.close()); err != nil {
		return nil, err
	}
	all = arrived.latencies(committed)
	slices.Sort(all)
	return all, nil
}

// probe sends the event by which each client shows that it is subscribed, and
// waits for that.
func (b *bench) probe(ctx context.Context, clients *swarm, url string, recipient func(int) string, shared bool) error {
	n := len(clients.clients)
	if shared {
		n = 1
	}
	if err := insertOneEach(ctx, url, n, recipient, probe); err != nil {
		return err
	}
	return clients.awaitProbes(ctx)
}

// insertOneEach publishes the same event for n recipients.
func insertOneEach(ctx context.Context, url string, n int, recipient func(int) string, number int64) error {
	recipients := make([]string, n)
	for i := range recipients {
		recipients[i] = recipient(i)
	}
	return withConn(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, insertForEach, recipients, number)
		return err
	})
}

// writeAtRate commits events one by one, each when it is due, and notes when its
// commit returned.
func writeAtRate(ctx context.Context, url string, rate int, recipient func(int) string, committed []time.Duration) error {
	return writeEach(ctx, url, rate, len(committed), func(ctx context.Context, conn *pgx.Conn, i int) error {
		_, err := conn.Exec(ctx, insertNumbered, recipient(i), i+1)
		committed[i] = clock()
		return err
	})
}

// writeEach has transactions made, each when it is due.
func writeEach(ctx context.Context, url string, rate, count int, write func(ctx context.Context, conn *pgx.Conn, i int) error) error {
	conns, err := connectAll(ctx, url, latencyConnections)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	due := make(chan int, count) // holds all: the clock never waits for a writer
	for _, conn := range conns {
		group.Go(func() error { // ends when all are written
			for i := range due {
				if err := write(ctx, conn, i); err != nil {
					return fmt.Errorf("insert: %w", err)
				}
			}
			return nil
		})
	}
	group.Go(func() error { // ends when all were due
		defer close(due)
		return pace(ctx, count, time.Second/time.Duration(rate), func(i int) error {
			due <- i
			return nil
		})
	})
	start := time.Now()
	err = group.Wait()
	wanted := time.Duration(count) * time.Second / time.Duration(rate)
	if took := time.Since(start); err == nil && took > wanted+wanted/10+time.Second {
		return fmt.Errorf("the writers took %v for what was due in %v: this machine is too slow for the rate", took, wanted)
	}
	return err
}

// pace calls fire at a constant rate, late calls at once: the load does not
// wait for who bears it.
func pace(ctx context.Context, count int, interval time.Duration, fire func(i int) error) error {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range count {
		timer.Reset(time.Until(start.Add(time.Duration(i) * interval)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := fire(i); err != nil {
			return err
		}
	}
	return nil
}
