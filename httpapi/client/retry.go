package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
	mostAsked  = time.Minute // what a server may ask for
)

// backoff paces attempts: each pause is twice the one before, up to mostPause,
// less up to half of it at random, so that the clients of a server that comes
// back do not come all at once.
type backoff struct{ next time.Duration }

func (b *backoff) pause() time.Duration {
	pause := max(b.next, firstPause)
	b.next = min(2*pause, mostPause)
	return pause - rand.N(pause/2)
}

// pauseAfter is the same after an error; a server that says when to come again is
// not asked before.
func (b *backoff) pauseAfter(err error) time.Duration {
	pause := b.pause()
	if status, ok := errors.AsType[*StatusError](err); ok {
		pause = max(pause, min(status.RetryAfter, mostAsked))
	}
	if closed, ok := errors.AsType[*closeError](err); ok {
		pause = max(pause, min(closed.retryAfter(), mostAsked))
	}
	return pause
}

func (b *backoff) reset() { b.next = 0 }

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// PushRetrying is Push, again and again while the server can't be reached or
// says that it can't store anything now, for as long as patience lasts. The
// list is stored once only if there is a key: an answer may be lost after the
// list was stored.
func (c *Client) PushRetrying(ctx context.Context, events []json.RawMessage, key string, patience time.Duration) error {
	var b backoff
	start := time.Now()
	for {
		err := c.Push(ctx, events, key)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !temporary(err):
			return err
		}
		pause := b.pauseAfter(err)
		if time.Since(start)+pause > patience {
			return fmt.Errorf("gave up after %s: %w", time.Since(start).Round(time.Millisecond), err)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
}
