package notifier_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/notifier/notifier"
)

// Who is told where it is while the first event of a batch waits for the policy has
// had nothing of the batch.
func TestHub_CursorBeforeTheFirstEventOfABatch(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	h.Start(notifier.Beginning{Position: ended(t, 5)})
	watch(t, h, notifier.Viewer{User: "a"}, nil)
	event := in("d", 5, 1)
	signer := notifier.NewCursorSigner(nil)
	policy.before = func(int) error {
		s := notifier.NewSubscriber("a", ids{}, &recorder{})
		h.Join(s)
		_, here, err := h.SubscribeAll(s, notifier.Viewer{User: "a"}, notifier.Permit{At: ended(t, 1000)}, true, notifier.Filter{})
		if err != nil {
			return err
		}
		told, err := signer.Parse(signer.Text(here))
		if err != nil {
			return err
		}
		if told.Point.Covers(event) {
			t.Error("a client that has not had the event is told of a cursor behind it")
		}
		return nil
	}
	publishPage(t, h, notifier.Page{From: ended(t, 5), To: ended(t, 6), Events: []*notifier.Event{event}})
	if len(policy.asked) == 0 {
		t.Error("the policy was not asked")
	}
}

// What waits for a client that is put behind is not lost when there is no room for
// what it missed last.
func TestHub_CatchUpKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{})
	c := newClient(t, f.Hub, 4)
	f.subscribe(c, false)
	f.publish(3) // they wait
	f.subscribe(c, true)
	f.publish(3)
	if got, want := c.catchUp(f.Hub), numbers(100, 106); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A client whose subscriptions end while it reads from the log, or are replaced, is
// live afterwards.
func TestHub_CatchUpOutlivesSubscriptions(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{RecentBytes: 1})
	c := newClient(t, f.Hub, 4)
	sub, _ := f.subscribe(c, true)
	f.publish(20)
	f.log.before = func() { f.Unsubscribe(sub) }
	if got := c.catchUp(f.Hub); got != "" {
		t.Errorf("got %s after all was unsubscribed", got)
	}
	f.subscribe(c, false)
	f.publish(1)
	if got := drain(&c.outbox, 100); got != "120 " {
		t.Errorf("a client that has subscribed again got %q", got)
	}
}

// A client that subscribes again to what it has, while it is behind, loses nothing
// by that.
func TestHub_ReplacedWhileBehind(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{})
	c := newClient(t, f.Hub, 2)
	older, _ := f.subscribe(c, false)
	f.publish(5)
	newer, _ := f.subscribe(c, false)
	f.Replace(older, newer)
	f.publish(1)
	if got, want := c.catchUp(f.Hub), numbers(100, 106); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other, _, err := f.Subscribe(c.Subscriber, notifier.Viewer{User: "other"}, notifier.Filter{}, notifier.Permit{At: ended(t, 100)})
	if err != nil {
		t.Fatal(err)
	}
	f.publish(3)
	again, _ := f.subscribe(c, false)
	f.Unsubscribe(newer)
	f.Replace(other, again)
	if got := c.catchUp(f.Hub); got != "" {
		t.Errorf("%s, which another user was owed", got)
	}
}

// Nothing can be subscribed to from a cursor while the client is behind: it would
// get what it missed in the wrong order, or twice.
func TestHub_NobodyIsHeldWhoIsBehind(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{})
	c := newClient(t, f.Hub, 2)
	f.subscribe(c, false)
	f.publish(3)
	if c.falls != 1 {
		t.Fatalf("it has fallen behind %d times", c.falls)
	}
	if _, _, err := f.Halt(c.Subscriber, lines{}); !errors.Is(err, notifier.ErrBehind) {
		t.Errorf("halt: %v", err)
	}
	_, _, err := f.SubscribeAll(c.Subscriber, notifier.Viewer{User: "u"}, notifier.Permit{}, true, notifier.Filter{})
	if !errors.Is(err, notifier.ErrBehind) {
		t.Errorf("subscribe: %v", err)
	}
	f.subscribe(c, false) // from now on
	if got, want := c.catchUp(f.Hub), numbers(100, 103); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A client that is so slow that retention overtakes it is told, however little it
// was that it has not read.
func TestHub_CatchUpBehindRetention(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{RecentBytes: 2000})
	c := newClient(t, f.Hub, 4)
	f.subscribe(c, true)
	f.publish(20)
	f.log.events, f.log.cut = f.log.events[len(f.log.events)-1:], true
	if err := f.CatchUp(t.Context(), c.Subscriber, c.send(new(strings.Builder))); !errors.Is(err, notifier.ErrGap) {
		t.Errorf("%v, but nothing tells that events are missing", err)
	}
}

// A batch of any size takes no more memory than there is for the newest events. Who
// is slow, or comes in the middle of it, has all of it in the end.
func TestHub_ALargeBatchIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFeeding(t, notifier.HubConfig{RecentBytes: 20_000})
		slow, late, fast := newClient(t, f.Hub, 10), newClient(t, f.Hub, 1<<20), newClient(t, f.Hub, 1<<20)
		f.subscribe(slow, false)
		f.subscribe(fast, false)
		const pages, size = 20, 50
		missed := 0
		var caughtUp chan string
		for n := range pages {
			f.publishPart(n*size+1, size, n == pages-1)
			if kept := notifier.RecentBytes(f.Hub); kept > 45_000 {
				t.Fatalf("%d bytes are kept after page %d", kept, n)
			}
			if n != pages/2 {
				continue
			}
			missed = f.come(late)
			if want := (n + 1) * size; missed != want {
				t.Errorf("%d of %d events are found", missed, want)
			}
			caughtUp = make(chan string, 1)
			go func() { caughtUp <- slow.catchUp(f.Hub) }() // ends when the batch has
			synctest.Wait()
		}
		if got, want := <-caughtUp, numbers(1, pages*size+1); got != want {
			t.Errorf("who is slow got %s", got)
		}
		if got, want := late.catchUp(f.Hub), numbers(missed+1, pages*size+1); got != want {
			t.Errorf("who came in the middle got %s", got)
		}
		if got, want := drain(&fast.outbox, 1<<20), numbers(1, pages*size+1); got != want {
			t.Errorf("who is fast got %s", got)
		}
	})
}

// However many subscriptions of a client want an event, it does not keep the others
// from the hub for long with what it has missed.
func TestHub_MissedIsLookedAtInParts(t *testing.T) {
	t.Parallel()
	policy := newRules(t)
	f := newFeeding(t, notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy}})
	c := newClient(t, f.Hub, 4)
	filters := make([]notifier.Filter, 500)
	for n := range filters {
		filters[n].Types = []string{"t", fmt.Sprint(n)}
	}
	for range 1000 {
		f.publishEvent(in("secret", f.last, int64(f.last))) //nolint:gosec // small
	}
	subs, here, err := f.SubscribeAll(c.Subscriber, notifier.Viewer{User: "u"}, notifier.Permit{At: ended(t, 1000)}, true, filters...)
	if err != nil {
		t.Fatal(err)
	}
	from := notifier.Cursor{Point: notifier.Point{From: ended(t, 100), To: ended(t, 100)}}
	notifier.LookForMissed(f.Hub, subs, from, here.Point) // there is something to ask
	before := f.Stats().Checks
	notifier.LookForMissed(f.Hub, subs, from, here.Point)
	if checks := f.Stats().Checks - before; checks > 10_000 {
		t.Errorf("%d checks in one go", checks)
	}
	if err := f.Missed(t.Context(), subs, from, here.Point, func([]notifier.Missed) error { return nil }); err != nil {
		t.Fatal(err)
	}
	before = f.Stats().Checks
	notifier.LookForMissed(f.Hub, subs, from, here.Point)
	if checks := f.Stats().Checks - before; checks > 10_000 || checks == 0 {
		t.Errorf("%d checks in one go, when the answers are known", checks)
	}
}

// Two transactions overlap, one instance has read them one after the other, and
// another together. Of what a client of the first has to get apart from others at
// the second, only some is held at a time.
func TestHub_MissedApartIsHeldInParts(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{})
	const count = 3000
	var events []*notifier.Event
	for n := range 2 * count {
		events = append(events, &notifier.Event{ID: int64(n + 1), TxID: uint64(100 + n%2), Type: "t"}) //nolint:gosec // small
	}
	publishPage(t, f.Hub, notifier.Page{From: ended(t, 100), To: ended(t, 102), Events: events})
	c := newClient(t, f.Hub, 4)
	sub, here := f.subscribe(c, true)
	after := int64(count)
	from := notifier.Cursor{Point: notifier.Point{From: ended(t, 100), To: position(t, "100:102:100"), After: after}}
	var got []int64
	most, err := notifier.MostApart(t.Context(), f.Hub, []*notifier.Subscription{sub}, from, here.Point, func(chunk []notifier.Missed) error {
		for _, m := range chunk {
			got = append(got, m.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []int64
	for id := after + 2; id <= 2*count; id += 2 {
		want = append(want, id)
	}
	for id := int64(1); id <= 2*count; id += 2 {
		want = append(want, id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	if most > 1024 {
		t.Errorf("%d events were held apart", most)
	}
}

// Many come back one after the other, to an instance whose memory is full, while
// events go on: what was read for the first serves the others, too.
func TestHub_ReadBackOnceForMany(t *testing.T) {
	t.Parallel()
	f := newFeeding(t, notifier.HubConfig{RecentBytes: 80_000})
	f.publish(400)
	from := notifier.Cursor{Point: notifier.Point{From: ended(t, 260), To: ended(t, 260)}}
	reads := 0
	f.log.read = func() { reads++ }
	for n := range 40 {
		c := newClient(t, f.Hub, 10)
		sub, here := f.subscribe(c, true)
		found := 0
		err := f.Missed(t.Context(), []*notifier.Subscription{sub}, from, here.Point, func(chunk []notifier.Missed) error {
			found += len(chunk)
			return nil
		})
		if want := 240 + n; err != nil || found != want {
			t.Fatalf("%d events are found, want %d: %v", found, want, err)
		}
		f.publish(1)
	}
	if reads > 1 {
		t.Errorf("the log was read %d times", reads)
	}
	f.publish(1000)
	if kept := notifier.RecentBytes(f.Hub); kept > 81_000 {
		t.Errorf("%d bytes are kept", kept)
	}
}
