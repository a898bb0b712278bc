//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// variant is a way to have rows noticed. Each has a database of its own, with
// the same table and indexes.
type variant struct {
	name string
	// statements make the variant out of notifier's schema.
	statements []string
	// follow starts who notices; nil: nobody does.
	follow openReader
	url    string
}

// The variants' places in every list of results.
const (
	unread = iota
	polled
	naive
	ours
)

func variants() []*variant {
	return []*variant{
		unread: {name: "unread", statements: []string{silence}},
		polled: {name: "polled", statements: []string{silence}, follow: openPoll},
		naive:  {name: "naive", statements: []string{silence, naiveDoorbell}, follow: openListen},
		ours:   {name: "ours", follow: openFeed},
	}
}

// comparison holds a series for each variant.
type comparison [ours + 1]series

func (b *bench) measureCommits(ctx context.Context) error {
	list := variants()
	for _, v := range list {
		var err error
		if v.url, err = b.cluster.database(ctx, "bench_"+v.name, v.statements...); err != nil {
			return err
		}
	}
	if err := b.measureRows(ctx, list); err != nil {
		return err
	}
	return b.measureBulk(ctx, list)
}

// measureRows lets several writers commit one row after the other.
func (b *bench) measureRows(ctx context.Context, list []*variant) error {
	w, err := b.newWriter("insert", insertRowPgbench, insertRow)
	if err != nil {
		return err
	}
	results := make([]comparison, len(b.writers))
	for round := range b.rounds {
		for i, connections := range b.writers {
			b.say("commits, round %d of %d: %d writers", round+1, b.rounds, connections)
			for place, v := range inTurn(list, round) {
				rate, err := b.runWriters(ctx, v, w, connections)
				if err != nil {
					return fmt.Errorf("%s, %d writers: %w", v.name, connections, err)
				}
				results[i][place] = append(results[i][place], rate)
			}
		}
	}
	t := commitTable(fmt.Sprintf("(a) commits per second, one row each, %v (%v a run, rounds: %d)", w, b.commitRun, b.rounds), "writers")
	for i, connections := range b.writers {
		addComparison(t, strconv.Itoa(connections), results[i])
	}
	explainVariants(t)
	return t.print(b.out)
}

// inTurn yields the variants with their places, another one first in each round:
// whoever comes later finds the disk busier.
func inTurn(list []*variant, round int) iter.Seq2[int, *variant] {
	return func(yield func(int, *variant) bool) {
		for i := range list {
			place := (i + round) % len(list)
			if !yield(place, list[place]) {
				return
			}
		}
	}
}

// runWriters measures one run of writers, and checks that whoever follows
// has read every row.
func (b *bench) runWriters(ctx context.Context, v *variant, w writer, connections int) (rate float64, err error) {
	err = b.followed(ctx, v, emptyLog(), func() (int64, error) {
		done, err := w.write(ctx, v.url, connections, b.commitRun)
		rate = done.rate
		if err != nil {
			return 0, err
		}
		stored, err := b.cluster.rows(ctx, v.url)
		if err == nil && (stored != done.rows || stored == 0) {
			err = fmt.Errorf("%d rows were committed, %d are stored", done.rows, stored)
		}
		return stored, err
	})
	return rate, err
}

// measureBulk inserts many rows in one statement.
func (b *bench) measureBulk(ctx context.Context, list []*variant) error {
	var result comparison
	for round := range b.rounds {
		b.say("commits, round %d of %d: bulk", round+1, b.rounds)
		for place, v := range inTurn(list, round) {
			took, err := b.runBulk(ctx, v, emptyLog(), insertBulk, b.bulkRows)
			if err != nil {
				return fmt.Errorf("%s, bulk: %w", v.name, err)
			}
			result[place] = append(result[place], float64(b.bulkRows)/took.Seconds())
		}
	}
	t := commitTable(fmt.Sprintf("(a) rows per second, one INSERT of %s rows (rounds: %d)", number(float64(b.bulkRows), 0), b.rounds), "")
	addComparison(t, "bulk", result)
	return t.print(b.out)
}

// runBulk measures one statement that writes bulkRows rows.
func (b *bench) runBulk(ctx context.Context, v *variant, before []string, statement string, args ...any) (took time.Duration, err error) {
	err = b.followed(ctx, v, before, func() (rows int64, err error) {
		err = withConn(ctx, v.url, func(conn *pgx.Conn) error {
			start := time.Now()
			tag, err := conn.Exec(ctx, statement, args...)
			took, rows = time.Since(start), tag.RowsAffected()
			return err
		})
		if err == nil && rows != int64(b.bulkRows) {
			err = fmt.Errorf("%d rows were written, not %d", rows, b.bulkRows)
		}
		return rows, err
	})
	return took, err
}

// followed makes the tables as before each run, has the variant's reader follow
// while something is written, and checks that it got each of the rows once.
func (b *bench) followed(ctx context.Context, v *variant, before []string, write func() (rows int64, err error)) error {
	if err := b.cluster.exec(ctx, v.url, before...); err != nil {
		return err
	}
	if v.follow == nil {
		_, err := write()
		return err
	}
	r, err := v.follow(ctx, v.url)
	if err != nil {
		return err
	}
	var rows int64
	err = r.ready(ctx)
	if err == nil {
		rows, err = write()
	}
	if err == nil {
		err = allRead(ctx, r, rows)
	}
	return errors.Join(err, r.close())
}

func allRead(ctx context.Context, r reader, rows int64) error {
	err := await(ctx, "the reader", func() bool { return r.read() >= rows })
	if err != nil || r.read() != rows {
		return errors.Join(err, fmt.Errorf("%d rows were written, %d were read", rows, r.read()))
	}
	return nil
}

func commitTable(title, first string) *table {
	return &table{title: title, header: []string{
		first, "no trigger", "no trigger, polled", "naive NOTIFY", "ours", "ours/no trigger", "ours/polled", "ours/naive",
	}}
}

func addComparison(t *table, name string, c comparison) {
	t.add(name, c[unread].cell(0), c[polled].cell(0), c[naive].cell(0), c[ours].cell(0),
		c[ours].over(c[unread]).cell(2), c[ours].over(c[polled]).cell(2), c[ours].over(c[naive]).cell(1))
}

func explainVariants(t *table) {
	t.note("no trigger: same table and indexes, doorbell disabled, nobody reads. polled: the same, and a feed reads it by polling.")
	t.note("naive: AFTER INSERT ... pg_notify('naive', NEW.id::text), a LISTENer that counts. ours: the doorbell, and a feed that reads every row.")
	t.note("Ratios are taken round by round. Each run begins with an empty table and a checkpoint.")
}
