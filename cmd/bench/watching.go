//go:build linux

package main

import (
	"context"
	"fmt"
)

// The places of what is compared in (i).
const (
	unwatched = iota
	notified
	watched
)

// watchVariants are ways to have the changes of a table noticed.
func watchVariants() []*variant {
	return []*variant{
		unwatched: {name: "unwatched", statements: []string{makeIssues}},
		notified:  {name: "notified", statements: []string{makeIssues, naiveIssues}, follow: openListen},
		watched:   {name: "watched", statements: []string{makeIssues, watchIssues}, follow: openFeed},
	}
}

// watchComparison holds a series for each of them.
type watchComparison [watched + 1]series

// measureWatching measures what it costs an application's own statements that
// their table is watched.
func (b *bench) measureWatching(ctx context.Context) error {
	list := watchVariants()
	for _, v := range list {
		var err error
		if v.url, err = b.cluster.database(ctx, "bench_"+v.name, v.statements...); err != nil {
			return err
		}
	}
	if err := b.measureChanges(ctx, list); err != nil {
		return err
	}
	return b.measureBulkUpdate(ctx, list)
}

// measureChanges has several writers commit changes of one row each.
func (b *bench) measureChanges(ctx context.Context, list []*variant) error {
	update := fmt.Sprintf(updateIssue, b.bulkRows)
	kinds := []struct{ name, statement string }{{"INSERT", insertIssue}, {"UPDATE", update}}
	var t *table
	for _, kind := range kinds {
		w, err := b.newWriter(kind.name, kind.statement, kind.statement)
		if err != nil {
			return err
		}
		if t == nil {
			t = watchTable(fmt.Sprintf("(i) commits per second, one row each, %v (%v a run, rounds: %d)", w, b.commitRun, b.rounds))
		}
		for _, connections := range b.writers {
			result, err := b.compareWatched(list, fmt.Sprintf("%s, %d writers", kind.name, connections), func(v *variant) (rate float64, err error) {
				err = b.followed(ctx, v, refilledIssues(b.bulkRows), func() (int64, error) {
					done, err := w.write(ctx, v.url, connections, b.commitRun)
					rate = done.rate
					return done.rows, err
				})
				return rate, err
			})
			if err != nil {
				return err
			}
			addWatched(t, fmt.Sprintf("%s, %d", kind.name, connections), result)
		}
	}
	t.note("unwatched: the same table of %s rows, nobody is told. pg_notify: a trigger for each row that sends it as JSON, a LISTENer that counts.", number(float64(b.bulkRows), 0))
	t.note("watched: notifier.watch_table with a dataset, and a feed that reads every event. Updates hit rows at random.")
	t.note("Ratios are taken round by round. Each run begins with the same rows, an empty log and a checkpoint.")
	return t.print(b.out)
}

// measureBulkUpdate changes every row in one statement.
func (b *bench) measureBulkUpdate(ctx context.Context, list []*variant) error {
	result, err := b.compareWatched(list, "bulk UPDATE", func(v *variant) (float64, error) {
		took, err := b.runBulk(ctx, v, refilledIssues(b.bulkRows), updateIssues)
		return float64(b.bulkRows) / took.Seconds(), err
	})
	if err != nil {
		return err
	}
	t := watchTable(fmt.Sprintf("(i) rows per second, one UPDATE of %s rows (rounds: %d)", number(float64(b.bulkRows), 0), b.rounds))
	addWatched(t, "bulk", result)
	return t.print(b.out)
}

// compareWatched runs the variants in turn, round by round.
func (b *bench) compareWatched(list []*variant, what string, run func(*variant) (float64, error)) (c watchComparison, err error) {
	for round := range b.rounds {
		b.say("watching, round %d of %d: %s", round+1, b.rounds, what)
		for place, v := range inTurn(list, round) {
			rate, err := run(v)
			if err != nil {
				return c, fmt.Errorf("%s, %s: %w", v.name, what, err)
			}
			c[place] = append(c[place], rate)
		}
	}
	return c, nil
}

func watchTable(title string) *table {
	return &table{title: title, header: []string{"", "unwatched", "pg_notify", "watched", "pg_notify/unwatched", "watched/unwatched"}}
}

func addWatched(t *table, name string, c watchComparison) {
	t.add(name, c[unwatched].cell(0), c[notified].cell(0), c[watched].cell(0),
		c[notified].over(c[unwatched]).cell(2), c[watched].over(c[unwatched]).cell(2))
}
