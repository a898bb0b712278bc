//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// leastStored leaves enough rows in the smaller of the two logs for what is looked for in them.
const leastStored = 100_000

var errTooFew = fmt.Errorf("fewer than %d", leastStored)

// measureScale has the same asked of a log and of one with a twentieth of its rows. What is asked for is
// alike in both; so what takes more blocks in the larger one does not scale.
func (b *bench) measureScale(ctx context.Context) error {
	sizes := []int{b.stored / 20, b.stored}
	results := make([]map[string]*scaleResult, len(sizes))
	var largest *storedLog
	var filled time.Duration
	for i, rows := range sizes {
		began := time.Now()
		l, err := b.fillLog(ctx, rows)
		if err != nil {
			return err
		}
		largest, filled = l, time.Since(began)
		if i == len(sizes)-1 {
			if err := b.printSizes(ctx, l, filled); err != nil {
				return err
			}
		}
		if results[i], err = b.measureStored(ctx, l); err != nil {
			return err
		}
		if err := b.cluster.exec(ctx, b.cluster.URL(""), fmt.Sprintf(`DROP DATABASE bench_scale_%d WITH (FORCE)`, rows)); err != nil {
			return err
		}
	}
	return b.printScale(largest, sizes, results)
}

// printSizes tells what the log takes on disk.
func (b *bench) printSizes(ctx context.Context, l *storedLog, filled time.Duration) error {
	names, bytes, err := l.sizes(ctx)
	if err != nil {
		return err
	}
	t := &table{
		title:  fmt.Sprintf("(j) bytes of %s stored events", number(float64(l.rows), 0)),
		header: []string{"", "MiB", "bytes an event"},
	}
	total := 0.0
	for _, name := range names {
		total += bytes[name]
		t.add(name, number(bytes[name]/(1<<20), 0), number(bytes[name]/float64(l.rows), 1))
	}
	t.add("all", number(total/(1<<20), 0), number(total/float64(l.rows), 1))
	t.note("Freshly built indexes, which are denser than grown ones. Written in %v.", filled.Round(time.Second))
	return t.print(b.out)
}

// scaleResult is what an operation took.
type scaleResult struct {
	events, statements int
	blocks, read       int // of the first round
	took               series
	costliest          map[string]explained // by the statement's name
	order              []string
}

// measureStored runs each operation on a log.
func (b *bench) measureStored(ctx context.Context, l *storedLog) (map[string]*scaleResult, error) {
	results := make(map[string]*scaleResult)
	err := b.withReader(ctx, l, func(r *scaleReader) error {
		for _, op := range b.scaleOperations() {
			b.say("scale: %s of %s stored", op.name, number(float64(l.rows), 0))
			rounds := b.rounds
			if op.once {
				rounds = 1
			}
			result := &scaleResult{}
			for range rounds {
				if err := r.measure(ctx, op, result); err != nil {
					return fmt.Errorf("%s, of %d stored: %w", op.name, l.rows, err)
				}
			}
			results[op.name] = result
		}
		return nil
	})
	return results, err
}

// measure runs an operation once and adds what it took to a result.
func (r *scaleReader) measure(ctx context.Context, op scaleOperation, result *scaleResult) error {
	if _, err := r.plans.next(); err != nil { // what came before it
		return err
	}
	events, took, err := op.run(ctx, r)
	if err != nil {
		return err
	}
	if op.want >= 0 && events != op.want {
		return fmt.Errorf("%d events, want %d", events, op.want)
	}
	statements, err := r.plans.next()
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return errors.New("the server has logged no plan")
	}
	result.took = append(result.took, float64(took)/float64(time.Millisecond))
	if result.costliest != nil {
		return nil
	}
	result.costliest = make(map[string]explained)
	result.events, result.statements = events, len(statements)
	for _, s := range statements {
		result.blocks += s.blocks()
		result.read += s.Plan.Read
		former, there := result.costliest[s.name()]
		if !there {
			result.order = append(result.order, s.name())
		}
		if !there || s.blocks() > former.blocks() {
			result.costliest[s.name()] = s
		}
	}
	return nil
}

func (b *bench) printScale(l *storedLog, sizes []int, results []map[string]*scaleResult) error {
	few, many := number(float64(sizes[0]), 0), number(float64(sizes[1]), 0)
	t := &table{
		title:  fmt.Sprintf("(j) blocks of 8 KiB, and milliseconds, beside %s and %s stored events (rounds: %d)", few, many, b.rounds),
		header: []string{"", "events", "statements", "blocks, " + few, "blocks, " + many, "of them read", "ms, " + few, "ms, " + many},
	}
	for _, op := range b.scaleOperations() {
		f, m := results[0][op.name], results[1][op.name]
		t.add(op.name, number(float64(m.events), 0), number(float64(m.statements), 0),
			number(float64(f.blocks), 0), number(float64(m.blocks), 0), number(float64(m.read), 0), f.took.cell(1), m.took.cell(1))
	}
	t.note("Blocks are of the first round; those read were not among the 512 MiB of shared_buffers, but most likely in the system's memory.")
	t.note("An event each %v, in transactions of %d. Since then: since the last %s events.", l.step, rowsOfOne, number(float64(b.stored/200), 0))
	if err := t.print(b.out); err != nil || !b.plans {
		return err
	}
	for _, op := range b.scaleOperations() {
		m := results[1][op.name]
		fmt.Fprintf(b.out, "\n%s, beside %s: the costliest of each statement\n", op.name, many)
		for _, name := range m.order {
			e := m.costliest[name]
			if e.blocks() == 0 {
				continue
			}
			fmt.Fprintf(b.out, "  %s: %d blocks hit, %d read\n", name, e.Plan.Hit, e.Plan.Read)
			e.Plan.print(b.out, "    ")
		}
	}
	return nil
}
