//go:build linux

package main

import (
	"context"
	"sync"

	"example.com/notifier/db"
	"example.com/notifier/notifier"
)

// scaleHub stands for an instance: it counts what the feed brings. It may be told to be away, as one
// that is stopped.
type scaleHub struct {
	began   notifier.Beginning
	started chan struct{}
	once    sync.Once

	mu    sync.Mutex
	away  chan struct{} // not nil: Publish waits until it is closed
	is    chan struct{} // closed when it does
	count int
	want  int
	all   chan struct{} // closed when so many came
}

func newScaleHub() *scaleHub { return &scaleHub{started: make(chan struct{})} }

// follow runs a feed into the hub until stop is called.
func (h *scaleHub) follow(ctx context.Context, d *db.DB) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.Feed(ctx, h) }() // ends with ctx; stop waits for it
	select {
	case <-h.started:
		return func() error { cancel(); return <-ended }, nil
	case err = <-ended:
		cancel()
		return nil, err
	}
}

// Start implements [db.Hub].
func (h *scaleHub) Start(b notifier.Beginning) {
	h.once.Do(func() { h.began = b; close(h.started) })
}

// Continue implements [db.Hub].
func (h *scaleHub) Continue(notifier.History) {}

// Publish implements [db.Hub].
func (h *scaleHub) Publish(ctx context.Context, p notifier.Page) error {
	if len(p.Events) == 0 {
		return nil
	}
	h.mu.Lock()
	away, is := h.away, h.is
	h.count += len(p.Events)
	if h.all != nil && h.count >= h.want {
		close(h.all)
		h.all = nil
	}
	h.mu.Unlock()
	if away == nil {
		return nil
	}
	close(is)
	select {
	case <-away:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave has the next event that comes be the last until back is called.
func (h *scaleHub) leave() (gone <-chan struct{}, back func(want int) (all <-chan struct{})) {
	h.mu.Lock()
	defer h.mu.Unlock()
	away, is := make(chan struct{}), make(chan struct{})
	h.away, h.is = away, is
	return is, func(want int) <-chan struct{} {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.away = nil
		all := make(chan struct{})
		h.count, h.want, h.all = 0, want, all
		close(away)
		return all
	}
}

// counted returns how many events came since it was back.
func (h *scaleHub) counted() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}
