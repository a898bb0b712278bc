package leaktest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/notifier/notifier"
)

// visit is what one subscriber received.
type visit struct {
	*instance
	*inbox
	user   string
	filter notifier.Filter
	// from and until are when it certainly was subscribed.
	from, until moment
	point       notifier.Point // where live began
	before      moment         // nothing of the visit was before
	// replayFrom and replayUntil are when its replay began and was over; zero:
	// there was none, or it was broken off.
	replayFrom, replayUntil moment
}

// visitors come and go until they are told to stop.
type visitors struct {
	*instance
	*ledger
	over context.Context // ends when they shall

	mu    sync.Mutex
	past  []*visit
	calls []*call
}

func (v *visitors) stopped() bool { return v.over.Err() != nil }

// pages waits until some more pages have been published.
func (v *visitors) pages(count int) {
	target := len(v.published()) + count
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(v.published()) < target && !v.stopped() {
		<-tick.C
	}
}

func (v *visitors) comeAndGo(ctx context.Context) error {
	for !v.stopped() {
		if err := v.visit(ctx); err != nil {
			return err
		}
	}
	return nil
}

// visit subscribes, replays, stays for some pages, and leaves.
func (v *visitors) visit(ctx context.Context) error {
	user := userName(rand.IntN(users))
	f := notifier.Filter{}
	if rand.IntN(2) == 0 { // only such can be replayed
		f = notifier.Filter{Recipient: &user, Since: time.Now().Add(-time.Second)}
	}
	before := now()
	box, s, sub, point, err := v.subscribe(ctx, user, f)
	if err != nil {
		return err
	}
	if box == nil {
		v.pages(1) // until the user exists
		return nil
	}
	one := &visit{instance: v.instance, inbox: box, user: user, filter: f, from: now(), point: point, before: before}
	if f.Recipient != nil {
		if err := v.replay(ctx, one, sub); err != nil {
			return err
		}
	}
	v.pages(1 + rand.IntN(30))
	one.until = now()
	v.Leave(s)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.past = append(v.past, one)
	v.count("visits")
	return nil
}

func (v *visitors) replay(ctx context.Context, one *visit, sub *notifier.Subscription) error {
	began := now()
	err := v.db.Replay(ctx, []notifier.Filter{one.filter}, one.point, func(events []*notifier.Event) error {
		readable, err := v.Readable(ctx, sub, events)
		for _, e := range readable {
			one.inbox.replay = append(one.inbox.replay, e.ID)
		}
		return err
	})
	switch {
	case errors.Is(err, notifier.ErrGone): // the subscription was revoked
		return nil
	case err != nil:
		return err
	}
	one.replayFrom, one.replayUntil = began, now()
	return nil
}
