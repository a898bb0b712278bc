//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// scaleReader is a server's way to a log: the same functions, the same statements.
type scaleReader struct {
	*storedLog
	bench *bench
	db    *db.DB
	hub   *scaleHub
	plans *planLog
	now   notifier.Point // behind all rows of the week
}

// scaleOperation is one of the things that a server asks of a log.
type scaleOperation struct {
	name string
	want int // events; below 0: whatever comes
	once bool
	run  func(ctx context.Context, r *scaleReader) (events int, took time.Duration, err error)
}

// withReader opens a server's way to a log.
func (b *bench) withReader(ctx context.Context, l *storedLog, use func(*scaleReader) error) error {
	d, err := db.Open(ctx, db.Config{URL: l.url})
	if err != nil {
		return err
	}
	defer d.Close()
	r := &scaleReader{storedLog: l, bench: b, db: d, hub: newScaleHub(), plans: &planLog{file: b.cluster.LogFile()}}
	stop, err := r.hub.follow(ctx, d)
	if err != nil {
		return err
	}
	r.now = notifier.Point{From: r.hub.began.Position, To: r.hub.began.Position}
	return errors.Join(use(r), stop())
}

// scaleOperations are in an order in which what changes the log comes last.
func (b *bench) scaleOperations() []scaleOperation {
	since := b.stored / 200
	return []scaleOperation{
		{name: "live read of 20 transactions", want: 100, run: between(100)},
		{name: "resume at a cursor", want: 1000, run: resume(1000)},
		{name: "replay to one recipient, all of the week", want: 1000, run: replay(notifier.Filter{Recipient: new("reader")}, 0, 0)},
		{name: "replay of a type, since then", want: since / 100, run: replay(notifier.Filter{Types: []string{"topic77"}}, since, 0)},
		{name: "replay of everything, since then", want: since, run: replay(notifier.Filter{}, since, 0)},
		{name: "replay of a type, all of the week: its first 1,000", want: -1, run: replay(notifier.Filter{Types: []string{"topic77"}}, 0, 1000)},
		{name: "replay of everything, all of the week: its first 1,000", want: -1, run: replay(notifier.Filter{}, 0, 1000)},
		{name: "newest event of an indexed type", want: 1, run: newest("system-state")},
		{name: "newest event of another type", want: 1, run: newest("topic77")},
		{name: "catch-up after an outage", want: since, once: true, run: catchUp(since)},
		{name: "catch-up after a long outage", want: b.stored / 20, once: true, run: catchUp(b.stored / 20)},
		{name: "retention of 2 in 100", want: -1, once: true, run: retain(b.stored / 50)},
		{name: "retention of 5 in 10,000 more, unvacuumed", want: -1, once: true, run: retain(b.stored/50 + b.stored/2000)},
	}
}

// between reads the last events of the week from position to position.
func between(events int) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (count int, took time.Duration, err error) {
		from, err := r.before(r.rows - events)
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		err = r.db.Between(ctx, from, r.now.To, 0, func(page []*notifier.Event) error {
			count += len(page)
			return nil
		})
		return count, time.Since(began), err
	}
}

// resume is between for a client's cursor, which is judged first.
func resume(events int) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (int, time.Duration, error) {
		at, err := r.before(r.rows - events)
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		good, err := r.db.Resumable(ctx, notifier.Cursor{History: r.hub.began.History, Point: notifier.Point{From: at, To: at}, Anchor: r.hub.began.Anchor})
		if err == nil && !good {
			err = errors.New("the cursor does not count")
		}
		if err != nil {
			return 0, 0, err
		}
		judged := time.Since(began)
		count, took, err := between(events)(ctx, r)
		return count, judged + took, err
	}
}

var errEnough = errors.New("enough")

// replay replays what a filter wants of the last events of the week, or of all (0), and ends after so
// many, or with the last of them (0).
func replay(f notifier.Filter, last, enough int) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (count int, took time.Duration, err error) {
		f := f
		f.Since = r.start
		if last > 0 {
			f.Since = r.at(r.rows - last).Add(-r.step / 2)
		}
		began := time.Now()
		err = r.db.Replay(ctx, []notifier.Filter{f}, r.now, func(page []*notifier.Event) error {
			if count += len(page); enough > 0 && count >= enough {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			err = nil
		}
		return count, time.Since(began), err
	}
}

// newest reads the newest event of a type.
func newest(eventType string) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (count int, took time.Duration, err error) {
		began := time.Now()
		err = r.db.Latest(ctx, notifier.Filter{Types: []string{eventType}}, r.now, func(page []*notifier.Event) (bool, error) {
			count += len(page)
			return true, nil
		})
		return count, time.Since(began), err
	}
}

// catchUp has the instance be away while so many events are committed.
func catchUp(events int) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (int, time.Duration, error) {
		gone, back := r.hub.leave()
		err := withConn(ctx, r.url, func(conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, insertRow, "last"); err != nil {
				return err
			}
			select {
			case <-gone:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if _, err := conn.Exec(ctx, commitAtOnce); err != nil {
				return err
			}
			first, err := spend(ctx, conn, events/rowsOfOne+1)
			if err == nil {
				err = r.fill(ctx, conn, 0, events-1, first)
			}
			if err == nil {
				_, err = conn.Exec(ctx, insertRow, "last") // which rings
			}
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		if _, err := r.plans.next(); err != nil { // of the writing
			return 0, 0, err
		}
		began := time.Now()
		all := back(events)
		select {
		case <-all:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
		return r.hub.counted(), time.Since(began), nil
	}
}

// retain removes the events before a row.
func retain(row int) func(context.Context, *scaleReader) (int, time.Duration, error) {
	return func(ctx context.Context, r *scaleReader) (int, time.Duration, error) {
		d, err := db.Open(ctx, db.Config{URL: r.url, Retention: time.Since(r.at(row))})
		if err != nil {
			return 0, 0, err
		}
		defer d.Close()
		began := time.Now()
		removed, err := d.RetainOnce(ctx)
		return int(removed), time.Since(began), err
	}
}
