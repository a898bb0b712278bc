//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

const (
	week      = 7 * 24 * time.Hour
	fillChunk = 1_000_000 // rows of one statement
)

// storedLog is a database whose log looks as if a week had written it.
type storedLog struct {
	url   string
	rows  int
	first int64         // the id of the first transaction
	start time.Time     // of row 0
	step  time.Duration // between two rows
}

// fillLog makes one. The rows of other sizes are alike in all but how close they are in time.
func (b *bench) fillLog(ctx context.Context, rows int) (*storedLog, error) {
	name := fmt.Sprintf("bench_scale_%d", rows)
	l := &storedLog{rows: rows, step: week / time.Duration(rows)}
	var err error
	if l.url, err = b.cluster.database(ctx, name); err != nil {
		return nil, err
	}
	err = withConn(ctx, l.url, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, commitAtOnce); err != nil {
			return err
		}
		l.start = time.Now().Add(-week).Truncate(time.Microsecond) // as Postgres keeps it
		if l.first, err = spend(ctx, conn, rows/rowsOfOne+1); err != nil {
			return err
		}
		return withoutIndexes(ctx, conn, func() error {
			for from := 0; from < rows; from += fillChunk {
				b.say("scale: %s of %s rows", number(float64(from), 0), number(float64(rows), 0))
				if err := l.fill(ctx, conn, from, min(from+fillChunk, rows), l.first); err != nil {
					return err
				}
			}
			b.say("scale: indexes, vacuum")
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("fill the log: %w", err)
	}
	err = withConn(ctx, l.url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fillPositions, l.first, l.start, l.step.Seconds(), rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fill the positions: %w", err)
	}
	return l, b.cluster.exec(ctx, l.url, tidyUp, `VACUUM ANALYZE notifier.positions`, `CHECKPOINT`, fmt.Sprintf(explainAll, name))
}

// fill writes rows, of transactions of which row 0's had that id.
func (l *storedLog) fill(ctx context.Context, conn *pgx.Conn, from, to int, first int64) error {
	_, err := conn.Exec(ctx, fillRows, from, to, first, l.start, l.step.Seconds(), l.rows)
	if err == nil && to%(2*fillChunk) == 0 {
		_, err = conn.Exec(ctx, `CHECKPOINT`) // or the write-ahead log takes more room than the log
	}
	return err
}

// spend uses up so many transaction ids and returns the first of them.
func spend(ctx context.Context, conn *pgx.Conn, count int) (first int64, err error) {
	if err := conn.QueryRow(ctx, nextID).Scan(&first); err != nil {
		return 0, err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf(spendIDs, count))
	return first, err
}

// withoutIndexes has something done while the table has none but the primary key.
func withoutIndexes(ctx context.Context, conn *pgx.Conn, do func() error) error {
	rows, _ := conn.Query(ctx, secondaryIndexes)
	type index struct{ Name, Definition string }
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	if err != nil {
		return err
	}
	for _, i := range indexes {
		if _, err := conn.Exec(ctx, `DROP INDEX `+i.Name); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SET maintenance_work_mem = '1GB'`); err != nil {
		return err
	}
	for _, i := range indexes {
		if _, err := conn.Exec(ctx, i.Definition); err != nil {
			return err
		}
	}
	return nil
}

// before returns the position that lies before a row and behind all earlier ones.
func (l *storedLog) before(row int) (notifier.Position, error) {
	id := l.first + int64(row/rowsOfOne)
	return notifier.ParsePosition(fmt.Sprintf("%d:%d:", id, id))
}

// at returns the time of a row.
func (l *storedLog) at(row int) time.Time { return l.start.Add(time.Duration(row) * l.step) }

// sizes tells how large the table and its indexes are.
func (l *storedLog) sizes(ctx context.Context) (names []string, bytes map[string]float64, err error) {
	bytes = make(map[string]float64)
	err = withConn(ctx, l.url, func(conn *pgx.Conn) error {
		rows, _ := conn.Query(ctx, showSizes)
		var name string
		var size int64
		_, err := pgx.ForEachRow(rows, []any{&name, &size}, func() error {
			names = append(names, name)
			bytes[name] = float64(size)
			return nil
		})
		return err
	})
	return names, bytes, err
}
