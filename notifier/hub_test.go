package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

// recorder is a receiver that remembers.
type recorder struct {
	mu      sync.Mutex
	frames  []string
	flushes int
	ending  notifier.Ending
}

func (r *recorder) Queue(frame []byte, _ int, _ *notifier.Event) *notifier.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, string(frame))
	return nil
}

func (r *recorder) Behind() {}

func (r *recorder) Broken(notifier.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, "broken")
}

func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushes++
}

func (r *recorder) Revoke(ended []*notifier.Subscription, lost notifier.Loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	word := "revoked"
	if lost == notifier.LostAccount {
		word = "logged out"
	}
	for range ended {
		r.frames = append(r.frames, word)
	}
}

func (r *recorder) End(reason notifier.Ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = reason
}

// ids is an encoder whose frames are the events' ids.
type ids struct {
	joins   bool
	encoded *int
}

func (i ids) Joins() bool { return i.joins }

func (i ids) Encode(events []*notifier.Event) []byte {
	if i.encoded != nil {
		*i.encoded++
	}
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprint(e.ID))
	}
	return []byte(strings.Join(all, "+"))
}

// to makes an event for a user.
func to(user string, txid uint64, id int64) *notifier.Event {
	return &notifier.Event{ID: id, TxID: txid, Type: "t", Recipient: &user, CreatedAt: time.Unix(id, 0)}
}

func forUser(user string) notifier.Filter { return notifier.Filter{Recipient: &user} }

// join makes a subscriber with those filters.
func join(h *notifier.Hub, user string, e notifier.Encoder, filters ...notifier.Filter) (*recorder, *notifier.Subscriber) {
	r := &recorder{}
	s := notifier.NewSubscriber(user, e, r)
	h.Join(s)
	for _, f := range filters {
		if _, _, err := h.Subscribe(s, notifier.Viewer{User: user}, f, notifier.Permit{}); err != nil {
			panic(err)
		}
	}
	return r, s
}

func publish(h *notifier.Hub, events ...*notifier.Event) {
	if err := h.Publish(context.Background(), notifier.Page{Events: events, Last: true}); err != nil {
		panic(err)
	}
}

func subscribe(h *notifier.Hub, s *notifier.Subscriber, f notifier.Filter) (*notifier.Subscription, notifier.Point, error) {
	return h.Subscribe(s, notifier.Viewer{User: s.User()}, f, notifier.Permit{})
}

func wantFrames(t *testing.T, who string, r *recorder, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.frames); diff != "" {
		t.Errorf("%s (-want +got):\n%s", who, diff)
	}
}

func TestHub_EventReachesThoseItIsFor(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	a1, _ := join(h, "a", ids{}, forUser("a"))
	a2, _ := join(h, "a", ids{}, forUser("a"))
	b, _ := join(h, "b", ids{}, forUser("b"))
	all, _ := join(h, "c", ids{}, notifier.Filter{})
	idle, _ := join(h, "a", ids{})
	publish(h, to("a", 1, 1), to("b", 1, 2), &notifier.Event{ID: 3, TxID: 1})
	wantFrames(t, "one connection of a", a1, "1")
	wantFrames(t, "another of a", a2, "1")
	wantFrames(t, "b", b, "2")
	wantFrames(t, "who wants everything", all, "1", "2", "3")
	wantFrames(t, "who has not subscribed", idle)
	if a1.flushes != 1 || all.flushes != 1 || idle.flushes != 0 {
		t.Errorf("flushed %d, %d and %d times", a1.flushes, all.flushes, idle.flushes)
	}
}

func TestHub_SeveralFiltersDeliverOnce(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	r, s := join(h, "a", ids{}, notifier.Filter{Types: []string{"t"}}, notifier.Filter{Keys: []string{"x", "y", "x"}}, notifier.Filter{})
	again, _, _ := subscribe(h, s, notifier.Filter{Types: []string{"t"}})
	publish(h, &notifier.Event{ID: 1, TxID: 1, Type: "t", Key: "x"})
	h.Unsubscribe(again)
	h.Unsubscribe(again)
	publish(h, &notifier.Event{ID: 2, TxID: 2, Type: "t", Key: "y"})
	wantFrames(t, "several filters", r, "1", "2")
}

// ernius: one frame per client per push, the order of the list kept.
func TestHub_EventsOfOneTransactionAreJoined(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	encoded := 0
	e := ids{joins: true, encoded: &encoded}
	a1, _ := join(h, "a", e, forUser("a"))
	a2, _ := join(h, "a", e, forUser("a"))
	late := forUser("a")
	late.Since = time.Unix(3, 0)
	a3, _ := join(h, "a", e, late)
	b, _ := join(h, "b", e, forUser("b"))
	publish(h, to("a", 7, 1), to("b", 7, 2), to("a", 7, 3), to("a", 8, 4), to("a", 7, 5), to("a", 7, 6))
	wantFrames(t, "a", a1, "1+3", "4", "5+6")
	wantFrames(t, "a again", a2, "1+3", "4", "5+6")
	wantFrames(t, "a since 3", a3, "3", "4", "5+6")
	wantFrames(t, "b", b, "2")
	if encoded != 5 { // 1+3, 2, 3, 4 and 5+6
		t.Errorf("encoded %d frames", encoded)
	}
}

func TestHub_FramesAreShared(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	encoded := 0
	for range 100 {
		join(h, "a", ids{joins: true, encoded: &encoded}, forUser("a"))
	}
	publish(h, to("a", 1, 1), to("a", 1, 2), to("a", 2, 3))
	if encoded != 2 {
		t.Errorf("100 subscribers of two frames: encoded %d", encoded)
	}
}

func TestHub_DropUserEndsTheUsersConnections(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	a1, dropped := join(h, "a", ids{joins: true}, forUser("a"))
	a2, _ := join(h, "a", ids{joins: true})
	b, _ := join(h, "b", ids{joins: true}, forUser("b"))
	drop := to("a", 2, 2)
	drop.Control = notifier.ControlDropUser
	publish(h, to("a", 1, 1), drop, to("a", 3, 3), to("b", 3, 4))
	wantFrames(t, "what came before is delivered, what came after is not", a1, "1")
	wantFrames(t, "the other user", b, "4")
	if a1.ending != notifier.EndedByDrop || a2.ending != notifier.EndedByDrop || b.ending != "" {
		t.Errorf("ended %q, %q, %q", a1.ending, a2.ending, b.ending)
	}
	if diff := cmp.Diff([]string{"b"}, h.Users()); diff != "" {
		t.Error(diff)
	}
	if _, _, err := subscribe(h, dropped, forUser("a")); !errors.Is(err, notifier.ErrGone) {
		t.Error("who was dropped could subscribe")
	}
}

func TestHub_ControlEventsOfNewerVersionsAreNotDelivered(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	r, _ := join(h, "a", ids{}, notifier.Filter{})
	unknown := to("a", 1, 1)
	unknown.Control = "what_is_this"
	nobody := &notifier.Event{ID: 2, Control: notifier.ControlDropUser}
	publish(h, unknown, nobody)
	wantFrames(t, "control events", r)
}

// ernius: the end of one connection never unregisters another of the same id.
func TestHub_LeavingTakesOnlyOneself(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	stays, _ := join(h, "a", ids{}, forUser("a"))
	gone, s := join(h, "a", ids{}, forUser("a"))
	h.Leave(s)
	h.Leave(s)
	publish(h, to("a", 1, 1))
	wantFrames(t, "who stays", stays, "1")
	wantFrames(t, "who left", gone)
	if diff := cmp.Diff([]string{"a"}, h.Users()); diff != "" {
		t.Error(diff)
	}
}

// The point a subscription joins at and what it gets live leave neither gap nor
// overlap, also in the middle of a batch.
func TestHub_SeamOfReplayAndLive(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	from, between, after := position(t, "10:10:"), position(t, "20:30:20"), position(t, "40:40:")
	h.Start(notifier.Beginning{Position: from})
	pages := []notifier.Page{
		{From: from, To: between, Events: []*notifier.Event{to("a", 25, 1), to("a", 11, 2)}},
		{From: from, To: between, Events: []*notifier.Event{to("a", 29, 4)}, Last: true},
		{From: between, To: after, Events: []*notifier.Event{to("a", 20, 3), to("a", 33, 5)}, Last: true},
		{From: after, To: after, Last: true},
	}
	type joined struct {
		live  *recorder
		point notifier.Point
	}
	var all []joined
	for i := range len(pages) + 1 {
		r, s := join(h, "a", ids{})
		_, point, _ := subscribe(h, s, forUser("a"))
		all = append(all, joined{r, point})
		if i < len(pages) {
			if err := h.Publish(t.Context(), pages[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, j := range all {
		got := map[string]int{}
		for _, frame := range j.live.frames {
			got[frame]++
		}
		for _, p := range pages {
			for _, e := range p.Events {
				if j.point.Covers(e) {
					got[fmt.Sprint(e.ID)]++
				}
			}
		}
		for id := 1; id <= 5; id++ {
			if got[fmt.Sprint(id)] != 1 {
				t.Errorf("who joined before page %d has event %d %d times", i, id, got[fmt.Sprint(id)])
			}
		}
	}
}

// The index must find exactly what the filters say.
func TestHub_MatchesAsTheFiltersSay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	words := []string{"", "a", "b", "c", "d"}
	pick := func(most int) []string {
		var list []string
		for range random.IntN(most + 1) {
			list = append(list, words[random.IntN(len(words))])
		}
		return list
	}
	h := notifier.NewHub(notifier.HubConfig{})
	type client struct {
		*recorder
		filters map[*notifier.Subscription]notifier.Filter
		s       *notifier.Subscriber
		want    []string
	}
	var clients []*client
	for range 60 {
		r, s := join(h, "u", ids{})
		clients = append(clients, &client{recorder: r, s: s, filters: map[*notifier.Subscription]notifier.Filter{}})
	}
	for id := range int64(3000) {
		c := clients[random.IntN(len(clients))]
		if random.IntN(3) == 0 {
			for sub := range c.filters {
				h.Unsubscribe(sub)
				delete(c.filters, sub)
				break
			}
		} else {
			f := notifier.Filter{Types: pick(3), Actions: pick(2), Keys: pick(3)}
			if random.IntN(2) == 0 {
				f.Recipient, f.OrNobody = &words[random.IntN(len(words))], random.IntN(3) == 0
			}
			sub, _, _ := subscribe(h, c.s, f)
			c.filters[sub] = f
		}
		e := &notifier.Event{ID: id, TxID: uint64(id), Type: words[random.IntN(5)], Action: words[random.IntN(5)], Key: words[random.IntN(5)]}
		if random.IntN(3) > 0 {
			e.Recipient = &words[random.IntN(5)]
		}
		publish(h, e)
		for _, c := range clients {
			for _, f := range c.filters {
				if f.Matches(e) {
					c.want = append(c.want, fmt.Sprint(id))
					break
				}
			}
		}
	}
	for i, c := range clients {
		if diff := cmp.Diff(c.want, c.frames); diff != "" {
			t.Fatalf("client %d (-want +got):\n%s", i, diff)
		}
	}
}

// Clients come and go from many goroutines while events flow: run with -race.
func TestHub_Concurrency(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { // ends after its rounds
			for range 200 {
				_, s := join(h, "a", ids{joins: true}, forUser("a"), notifier.Filter{})
				h.Users()
				h.Point()
				h.Leave(s)
			}
		})
	}
	stay, _ := join(h, "a", ids{}, forUser("a"))
	for id := range int64(2000) {
		publish(h, to("a", uint64(id), id))
	}
	wg.Wait()
	if len(stay.frames) != 2000 {
		t.Errorf("who stayed has %d of 2000 events", len(stay.frames))
	}
}

func TestHub_ManyReceiversAreAllFlushed(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	var all []*recorder
	for range 1000 {
		r, _ := join(h, "a", ids{}, forUser("a"))
		all = append(all, r)
	}
	publish(h, to("a", 1, 1))
	for i, r := range all {
		if r.flushes != 1 {
			t.Fatalf("receiver %d was flushed %d times", i, r.flushes)
		}
	}
}
