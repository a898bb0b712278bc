package client

import (
	"context"
	"errors"
	"time"
)

// defaultMemory is how many events are remembered to recognize repetitions: it
// takes about 10 MB.
const defaultMemory = 100_000

// WatchConfig says what to watch.
type WatchConfig struct {
	User  string
	Since int64 // least created_at of the events shown

	// Events is called with new events, never with none. Its error ends Watch.
	Events func([]Event) error
	// Connected and Lost, if not nil, are told about the connection; Lost also
	// how long Watch will wait before it tries again.
	Connected func()
	Lost      func(err error, pause time.Duration)

	// Memory is how many events are remembered. 0: 100,000.
	Memory int
}

// Watch shows a user's events until the context ends, the server drops the user,
// or refuses. If the first connection fails, so does Watch; after that it
// reconnects for ever.
//
// A new connection asks again for everything since the beginning, since an event
// may become visible later than others with a later created_at, and what was
// shown already is left out. Only when Memory is exceeded does it forget, and
// from then on ask for events since the largest created_at seen by then, as far
// as that has passed: those of that second may be shown twice, and those of an
// earlier created_at that happen while there is no connection are missed.
func (c *Client) Watch(ctx context.Context, w WatchConfig) error {
	if w.Memory == 0 {
		w.Memory = defaultMemory
	}
	watch := &watch{WatchConfig: w, client: c, memory: newMemory(w.Memory), largest: w.Since}
	var b backoff
	for {
		connected, err := watch.once(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case watch.final(err):
			return err
		case connected > mostPause:
			b.reset()
		}
		pause := b.pauseAfter(err)
		if w.Lost != nil {
			w.Lost(err, pause)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}

// watch is the state of a call of Watch.
type watch struct {
	WatchConfig
	client  *Client
	memory  *memory
	largest int64 // created_at seen
	begun   bool  // there was a connection
	failed  error // of Events
}

// final tells whether an error ends it.
func (w *watch) final(err error) bool {
	return !w.begun || w.failed != nil || errors.Is(err, ErrDropped) || errors.Is(err, ErrRefused) || !temporary(err)
}

// once is one connection. It returns how long that lasted, and why it ended.
func (w *watch) once(ctx context.Context) (time.Duration, error) {
	s, err := w.client.Subscribe(ctx, w.User, w.Since)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	w.begun = true
	w.memory.reconnected()
	if w.Connected != nil {
		w.Connected()
	}
	start := time.Now()
	for {
		events, err := s.Next(ctx)
		if err != nil {
			return time.Since(start), err
		}
		if w.failed = w.show(events); w.failed != nil {
			return 0, w.failed
		}
	}
}

func (w *watch) show(events []Event) error {
	fresh := events[:0]
	for _, e := range events {
		if e.CreatedAt <= time.Now().Unix() { // one from the future must not hide all that come before it
			w.largest = max(w.largest, e.CreatedAt)
		}
		if w.memory.isNew(e) {
			fresh = append(fresh, e)
		}
	}
	if w.memory.full() {
		w.memory.forget()
		w.Since = w.largest
	}
	if len(fresh) == 0 {
		return nil
	}
	return w.Events(fresh)
}
