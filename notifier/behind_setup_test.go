package notifier_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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
	read   func() // has somebody begin
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
	if l.read != nil {
		l.read()
	}
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
		f.publishEvent(&notifier.Event{ID: int64(f.last), TxID: f.last, Type: "t"}) //nolint:gosec // small
	}
}

func (f *feeding) publishEvent(e *notifier.Event) {
	f.log.add(e)
	publishPage(f.t, f.Hub, notifier.Page{From: ended(f.t, f.last), To: ended(f.t, f.last+1), Events: []*notifier.Event{e}})
	f.last++
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
