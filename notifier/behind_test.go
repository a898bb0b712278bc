package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"example.com/notifier/notifier"
)

// client is a receiver with an outbox, as a connection has.
type client struct {
	t      testing.TB
	outbox notifier.Outbox
	*notifier.Subscriber
	falls int
}

// newClient joins, with room for so many events.
func newClient(t testing.TB, h *notifier.Hub, room int) *client {
	c := &client{t: t, outbox: notifier.Outbox{Limits: notifier.OutboxLimits{Events: room}}}
	c.Subscriber = notifier.NewSubscriber("u", lines{}, c)
	h.Join(c.Subscriber)
	return c
}

// lines is an encoder whose frames are the events' ids, each with a blank.
type lines struct{}

func (lines) Joins() bool { return false }

func (lines) Encode(events []*notifier.Event) []byte { return fmt.Appendf(nil, "%d ", events[0].ID) }

func (c *client) Queue(frame []byte, events int, first *notifier.Event) *notifier.Event {
	if c.outbox.Queue(frame, events, first) || first == nil {
		return nil
	}
	if lost := c.outbox.Discard(); lost != nil {
		return lost
	}
	return first
}

func (c *client) Flush()                                         {}
func (c *client) Behind()                                        { c.falls++ }
func (c *client) End(notifier.Ending)                            { c.t.Error("ended") }
func (c *client) Broken(notifier.Cursor)                         {}
func (c *client) Revoke([]*notifier.Subscription, notifier.Loss) {}

// send is what CatchUp gets for a client that reads: what waits goes first.
func (c *client) send(got *strings.Builder) func([]notifier.Missed) error {
	return func(chunk []notifier.Missed) error {
		got.WriteString(drain(&c.outbox, 1<<20))
		for len(chunk) > 0 {
			frame, n := notifier.NextFrame(chunk, lines{})
			got.Write(frame)
			chunk = chunk[n:]
		}
		return nil
	}
}

// catchUp has the client be live and returns all that it got.
func (c *client) catchUp(h *notifier.Hub) string {
	c.t.Helper()
	var got strings.Builder
	if err := h.CatchUp(c.t.Context(), c.Subscriber, c.send(&got)); err != nil {
		c.t.Fatal(err)
	}
	got.WriteString(drain(&c.outbox, 1<<20))
	return got.String()
}

// feeding publishes events of rising ids, each a batch by itself.
type feeding struct {
	*notifier.Hub
	t    testing.TB
	last uint64
	log  *tape
}

// tape is a log of which everything is there, unless it is said to be cut off.
type tape struct {
	mu     sync.Mutex
	events []*notifier.Event
	cut    bool
	before func() // each page
}

func (l *tape) add(events ...*notifier.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
}

func (l *tape) all() []*notifier.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

func (l *tape) Between(_ context.Context, from, to notifier.Position, after int64, yield func([]*notifier.Event) error) error {
	for _, e := range l.all() {
		if l.before != nil {
			l.before()
		}
		if to.Ended(e.TxID) && !from.Ended(e.TxID) && e.ID > after {
			if err := yield([]*notifier.Event{{ID: e.ID, TxID: e.TxID, Type: e.Type, Payload: e.Payload}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *tape) Resumable(context.Context, notifier.Cursor) (bool, error) { return !l.cut, nil }

func newFeeding(t testing.TB, c notifier.HubConfig) *feeding {
	f := &feeding{t: t, last: 100, log: &tape{}}
	c.Log = f.log
	f.Hub = notifier.NewHub(c)
	f.Start(notifier.Beginning{Position: ended(t, 100)})
	return f
}

// ended is the position at which all transactions below an id have ended.
func ended(t testing.TB, xmax uint64) notifier.Position {
	return position(t, fmt.Sprintf("%d:%d:", xmax, xmax))
}

func (f *feeding) publish(n int) {
	for range n {
		e := &notifier.Event{ID: int64(f.last), TxID: f.last, Type: "t"} //nolint:gosec // small
		f.log.add(e)
		publishPage(f.t, f.Hub, notifier.Page{From: ended(f.t, f.last), To: ended(f.t, f.last+1), Events: []*notifier.Event{e}})
		f.last++
	}
}

func (f *feeding) subscribe(c *client, behind bool) (*notifier.Subscription, notifier.Cursor) {
	f.t.Helper()
	subs, here, err := f.SubscribeAll(c.Subscriber, notifier.Viewer{User: "u"}, notifier.Permit{At: ended(f.t, 100)}, behind, notifier.Filter{})
	if err != nil {
		f.t.Fatal(err)
	}
	return subs[0], here
}

// numbers are the frames of events.
func numbers(from, end int) string {
	var all strings.Builder
	for n := from; n < end; n++ {
		fmt.Fprintf(&all, "%d ", n)
	}
	return all.String()
}

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

// publishPart publishes a page of a transaction's events, with rising ids. Only at
// the end it is known what is read of the batch.
func (f *feeding) publishPart(id, count int, last bool) {
	f.t.Helper()
	p := notifier.Page{From: ended(f.t, 100), To: ended(f.t, 150), Last: last}
	if last {
		p.To = ended(f.t, 101)
	}
	for n := range count {
		p.Events = append(p.Events, &notifier.Event{ID: int64(id + n), TxID: 100, Type: "t"})
	}
	f.log.add(p.Events...)
	if err := f.Publish(f.t.Context(), p); err != nil {
		f.t.Fatal(err)
	}
}

// come has a client resume at the beginning and returns how much it has missed.
func (f *feeding) come(c *client) (count int) {
	f.t.Helper()
	sub, here := f.subscribe(c, true)
	from := notifier.Cursor{Point: notifier.Point{From: ended(f.t, 100), To: ended(f.t, 100)}}
	err := f.Missed(f.t.Context(), []*notifier.Subscription{sub}, from, here.Point, func(chunk []notifier.Missed) error {
		count += len(chunk)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return count
}
