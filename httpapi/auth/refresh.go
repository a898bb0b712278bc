package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxWaiting bounds the verifications that wait for a refresh at once; the
	// tokens of others are refused right away.
	maxWaiting = 64
	// maxWait bounds how long each of them waits.
	maxWait = 5 * time.Second
)

// demand is how verifications ask for a refresh: all that ask while one is
// under way share it.
type demand struct {
	mu      sync.Mutex
	running bool          // somebody is there to answer
	pending chan struct{} // closed when the refresh that was asked for is done; nil: none was
	waiting int
	last    time.Time // when a refresh was last asked for

	wake chan struct{} // has room for one
}

// Run keeps the keys fresh until the context ends, and then returns nil. It
// does no harm to a verifier with only a secret, and can be called once.
func (v *Verifier) Run(ctx context.Context) error {
	v.demand.open()
	defer v.demand.close()
	for {
		v.refreshDue(ctx)
		if !v.pause(ctx) {
			return nil
		}
	}
}

// Refresh loads all keys anew, now. A source that can't be loaded keeps its
// keys and is named in the error.
func (v *Verifier) Refresh(ctx context.Context) error {
	return v.refresh(ctx, func(*source) bool { return true })
}

// Ready returns nil when every source of keys has been loaded at least once.
func (v *Verifier) Ready() error {
	var problems []error
	for _, s := range v.sources {
		if s.keys.Load() == nil {
			problems = append(problems, fmt.Errorf("%s: not loaded yet", s.setting))
		}
	}
	return errors.Join(problems...)
}

func (v *Verifier) refreshDue(ctx context.Context) {
	now := v.config.Clock()
	err := v.refresh(ctx, func(s *source) bool { return !now.Before(s.due) })
	if err != nil && ctx.Err() == nil {
		v.config.Logger.WarnContext(ctx, "token keys not refreshed, the last good ones stay", "error", err)
	}
}

// refresh loads those sources that are wanted, one refresh after the other.
func (v *Verifier) refresh(ctx context.Context, wanted func(*source) bool) error {
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var problems []error
	for _, s := range v.sources {
		if !wanted(s) {
			continue
		}
		err := s.load(ctx, v.config.Logger)
		s.schedule(v.config.Clock(), err)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// pause waits until a source is due, answering demands, and returns false when
// the context has ended.
func (v *Verifier) pause(ctx context.Context) bool {
	due := v.nextDue(ctx)
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-v.demand.wake:
		if err := v.refresh(ctx, func(s *source) bool { return s.ids }); err != nil && ctx.Err() == nil {
			v.config.Logger.WarnContext(ctx, "token key not found, and the keys not refreshed", "error", err)
		}
		v.demand.answer()
	}
	return true
}

// nextDue returns how long until a source is due.
func (v *Verifier) nextDue(ctx context.Context) time.Duration {
	next := time.Hour
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return next
	}
	now := v.config.Clock()
	for _, s := range v.sources {
		next = min(next, s.due.Sub(now))
	}
	return max(next, 0)
}

func (d *demand) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = true
}

// close lets go all who wait; none will be answered any more.
func (d *demand) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
	d.answerLocked()
}

func (d *demand) answer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answerLocked()
}

func (d *demand) answerLocked() {
	if d.pending != nil {
		close(d.pending)
		d.pending = nil
	}
}

// join returns what is closed when the next refresh is done, or nil if there
// will be none for this caller. Who joins must leave.
func (d *demand) join(now time.Time, interval time.Duration) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running || d.waiting >= maxWaiting {
		return nil
	}
	if d.pending == nil {
		if !d.last.IsZero() && now.Sub(d.last) < interval {
			return nil
		}
		d.last = now
		d.pending = make(chan struct{})
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	d.waiting++
	return d.pending
}

func (d *demand) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
}

// await asks for a refresh and returns whether one was made since.
func (d *demand) await(ctx context.Context, now time.Time, interval time.Duration) bool {
	done := d.join(now, interval)
	if done == nil {
		return false
	}
	defer d.leave()
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
