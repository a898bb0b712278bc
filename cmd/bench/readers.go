//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// reader follows the log while writers write.
type reader interface {
	// ready returns once everything committed from now on will be read.
	ready(ctx context.Context) error
	// read returns how many rows have arrived.
	read() int64
	// close waits for the reader's end.
	close() error
}

// openReader starts a reader of a database.
type openReader func(ctx context.Context, url string) (reader, error)

// background is a goroutine that reads until it is closed.
type background struct {
	count  atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup
	err    error // once wg is done
}

func (r *background) start(ctx context.Context, run func(context.Context) error) {
	ctx, r.cancel = context.WithCancel(ctx)
	r.wg.Go(func() { // ends when close is called, or with ctx
		if err := run(ctx); ctx.Err() == nil {
			r.err = err
		}
	})
}

func (r *background) read() int64 { return r.count.Load() }

func (r *background) stop() error {
	r.cancel()
	r.wg.Wait()
	return r.err
}

// feedReader is the server's own reading, into a hub without subscribers.
type feedReader struct {
	background
	db  *db.DB
	hub *notifier.Hub
}

func openFeed(ctx context.Context, url string) (reader, error) { return newFeed(ctx, url, false) }
func openPoll(ctx context.Context, url string) (reader, error) { return newFeed(ctx, url, true) }

func newFeed(ctx context.Context, url string, pollOnly bool) (reader, error) {
	d, err := db.Open(ctx, db.Config{URL: url, PollOnly: pollOnly})
	if err != nil {
		return nil, err
	}
	r := &feedReader{db: d, hub: notifier.NewHub(notifier.HubConfig{})}
	r.start(ctx, func(ctx context.Context) error { return d.Feed(ctx, r) })
	return r, nil
}

// Start passes on where live begins.
func (r *feedReader) Start(b notifier.Beginning) { r.hub.Start(b) }

// Continue passes on which history the log goes on in.
func (r *feedReader) Continue(history notifier.History) { r.hub.Continue(history) }

// Publish counts events on their way to the hub.
func (r *feedReader) Publish(ctx context.Context, p notifier.Page) error {
	r.count.Add(int64(len(p.Events)))
	return r.hub.Publish(ctx, p)
}

func (r *feedReader) ready(ctx context.Context) error {
	return await(ctx, "the feed", func() bool { return r.db.Ready() == nil })
}

func (r *feedReader) close() error {
	err := r.stop()
	r.db.Close()
	return err
}

// listenReader waits for the naive trigger's notifications, and does nothing
// with them.
type listenReader struct {
	background
	conn *pgx.Conn
}

func openListen(ctx context.Context, url string) (reader, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, listenNaive); err != nil {
		return nil, errors.Join(err, closeConn(conn))
	}
	r := &listenReader{conn: conn}
	r.start(ctx, func(ctx context.Context) error {
		for {
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return err
			}
			r.count.Add(1)
		}
	})
	return r, nil
}

func (r *listenReader) ready(context.Context) error { return nil }

func (r *listenReader) close() error { return errors.Join(r.stop(), closeConn(r.conn)) }

// patience is how long something that must happen may take.
const patience = time.Minute

// await waits until something is so.
func await(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v", patience))
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}
