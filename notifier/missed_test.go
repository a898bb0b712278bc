package notifier_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/notifier"
)

// madeUpLog is a made-up log: transactions that overlap, commit in any order, and
// lock the keys they write to, as rows of an application's tables are.
type madeUpLog struct {
	mu     sync.Mutex
	rng    *rand.Rand
	txid   uint64
	id     int64
	open   map[uint64][]*notifier.Event
	locked map[string]uint64
	done   []*notifier.Event // committed, in the order of that
	ended  map[uint64]bool
	reads  int
}

func newMadeUpLog(seed uint64) *madeUpLog {
	return &madeUpLog{
		rng: rand.New(rand.NewPCG(seed, 1)), txid: 100, //nolint:gosec // made up
		open: make(map[uint64][]*notifier.Event), locked: make(map[string]uint64), ended: make(map[uint64]bool),
	}
}

// step has something happen: a transaction begins, writes or ends.
func (y *madeUpLog) step() {
	y.mu.Lock()
	defer y.mu.Unlock()
	running := slices.Sorted(maps.Keys(y.open))
	switch n := y.rng.IntN(10); {
	case n < 3 && len(running) < 6 || len(running) == 0:
		y.open[y.txid] = nil
		y.txid++
	case n < 8:
		y.write(running[y.rng.IntN(len(running))])
	default:
		y.end(running[y.rng.IntN(len(running))], y.rng.IntN(5) > 0)
	}
}

func (y *madeUpLog) write(txid uint64) {
	key := fmt.Sprint("k", y.rng.IntN(20))
	if holder, ok := y.locked[key]; ok && holder != txid {
		return
	}
	y.locked[key] = txid
	y.id++
	y.open[txid] = append(y.open[txid], &notifier.Event{ID: y.id, TxID: txid, Type: fmt.Sprint("t", y.rng.IntN(3)), Key: key})
}

func (y *madeUpLog) end(txid uint64, commits bool) {
	if commits {
		y.done = append(y.done, y.open[txid]...)
	}
	delete(y.open, txid)
	y.ended[txid] = true
	maps.DeleteFunc(y.locked, func(_ string, holder uint64) bool { return holder == txid })
}

func (y *madeUpLog) position() notifier.Position {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.positionLocked()
}

func (y *madeUpLog) positionLocked() notifier.Position {
	xmax := uint64(1)
	for txid := range y.ended {
		xmax = max(xmax, txid+1)
	}
	var running []string
	xmin := xmax
	for txid := uint64(100); txid < xmax; txid++ {
		if !y.ended[txid] {
			xmin = min(xmin, txid)
			running = append(running, fmt.Sprint(txid))
		}
	}
	p, err := notifier.ParsePosition(fmt.Sprintf("%d:%d:%s", xmin, xmax, strings.Join(running, ",")))
	if err != nil {
		panic(err)
	}
	return p
}

// Between reads the log, in small pages; the events are new ones each time.
func (y *madeUpLog) Between(_ context.Context, from, to notifier.Position, after int64, yield func([]*notifier.Event) error) error {
	y.mu.Lock()
	y.reads++
	var found []*notifier.Event
	for _, e := range y.done {
		if to.Ended(e.TxID) && !from.Ended(e.TxID) && e.ID > after {
			found = append(found, &notifier.Event{ID: e.ID, TxID: e.TxID, Type: e.Type, Key: e.Key})
		}
	}
	y.mu.Unlock()
	slices.SortFunc(found, func(a, b *notifier.Event) int { return int(a.ID - b.ID) })
	for page := range slices.Chunk(found, 7) {
		if err := yield(page); err != nil {
			return err
		}
	}
	return nil
}

func (y *madeUpLog) Resumable(context.Context, notifier.Cursor) (bool, error) { return true, nil }

// instance is a hub that follows the history in batches of its own.
type instance struct {
	*notifier.Hub
	t  testing.TB
	y  *madeUpLog
	at notifier.Position
}

func newInstance(t testing.TB, y *madeUpLog, recentBytes int) *instance {
	i := &instance{
		Hub: notifier.NewHub(notifier.HubConfig{Log: y, RecentBytes: recentBytes}),
		t:   t, y: y, at: y.position(),
	}
	i.Start(notifier.Beginning{Position: i.at})
	return i
}

// read publishes what has ended, in pages of a few events; those whose end is not
// the last one's say that there is more.
func (i *instance) read(pageSize int) {
	to := i.y.position()
	var pages [][]*notifier.Event
	_ = i.y.Between(i.t.Context(), i.at, to, 0, func(page []*notifier.Event) error {
		pages = append(pages, page)
		return nil
	})
	pages = slices.Collect(slices.Chunk(slices.Concat(pages...), pageSize))
	if len(pages) == 0 {
		pages = [][]*notifier.Event{nil}
	}
	for n, events := range pages {
		p := notifier.Page{From: i.at, To: to, Events: events, Last: n == len(pages)-1}
		if err := i.Publish(i.t.Context(), p); err != nil {
			i.t.Fatal(err)
		}
	}
	i.at = to
}

// follower is a client with cursors that is cut off again and again.
type follower struct {
	t               testing.TB
	filter          []notifier.Filter
	cursor          notifier.Cursor
	had             []*notifier.Event
	rng             *rand.Rand
	distractions    int
	maxDistractions int
	room            int // events its receiver takes before it has no room; 0: any number

	s       *notifier.Subscriber
	waiting []*notifier.Event
	behind  bool
}

func (f *follower) Joins() bool                                    { return false }
func (f *follower) Encode([]*notifier.Event) []byte                { return []byte("event") }
func (f *follower) Flush()                                         {}
func (f *follower) End(notifier.Ending)                            {}
func (f *follower) Revoke([]*notifier.Subscription, notifier.Loss) {}
func (f *follower) Behind()                                        { f.behind = true }
func (f *follower) Broken(notifier.Cursor)                         { f.t.Error("the history is said to be broken") }

func (f *follower) Queue(_ []byte, _ int, first *notifier.Event) *notifier.Event {
	if first == nil {
		return nil
	}
	if f.room > 0 && len(f.waiting) >= f.room {
		lost := f.waiting[0]
		f.waiting = nil
		return lost
	}
	f.waiting = append(f.waiting, first)
	return nil
}

// take has the client receive some of what waits.
func (f *follower) take(n int) {
	for _, e := range f.waiting[:min(n, len(f.waiting))] {
		f.receive(e)
	}
	f.waiting = f.waiting[min(n, len(f.waiting)):]
}

func (f *follower) receive(e *notifier.Event) {
	cursor, ok := e.Cursor()
	if !ok {
		f.t.Fatal("an event without a cursor")
	}
	for _, had := range f.had {
		if !cursor.Point.Covers(had) {
			f.t.Fatalf("the cursor of event %d does not cover event %d, which came before", e.ID, had.ID)
		}
	}
	f.had = append(f.had, e)
	signer := notifier.NewCursorSigner(nil)
	back, err := signer.Parse(signer.Text(cursor))
	if err != nil {
		f.t.Fatal(err)
	}
	f.cursor = back
}

// connect resumes at an instance, and is cut off after so many events, if that
// comes before it is live.
func (f *follower) connect(i *instance, cutAfter int) {
	f.s = notifier.NewSubscriber("u", f, f)
	f.waiting, f.behind, f.distractions = nil, false, f.maxDistractions
	i.Join(f.s)
	if err := i.Await(f.t.Context(), f.cursor.Point); err != nil {
		f.t.Fatal(err)
	}
	subs, here, err := i.SubscribeAll(f.s, notifier.Viewer{User: "u"}, notifier.Permit{}, true, f.filter...)
	if err != nil {
		f.t.Fatal(err)
	}
	cut := fmt.Errorf("cut off")
	take := func(chunk []notifier.Missed) error {
		for _, m := range chunk {
			if cutAfter--; cutAfter < 0 {
				return cut
			}
			f.receive(m.Event)
		}
		f.meanwhile(i)
		return nil
	}
	if err := i.Missed(f.t.Context(), subs, f.cursor, here.Point, take); err != nil && err != cut {
		f.t.Fatal(err)
	}
	if cutAfter < 0 {
		i.Leave(f.s)
		f.s = nil
		return
	}
	f.cursor = here
	f.catchUp(i, take, cut)
}

// meanwhile has the log grow while a client is busy with what it has missed.
func (f *follower) meanwhile(i *instance) {
	if f.distractions--; f.distractions < 0 {
		return // or it would never catch up
	}
	for range f.rng.IntN(8) {
		i.y.step()
	}
	if f.rng.IntN(2) == 0 {
		i.read(1 + f.rng.IntN(10))
	}
}

func (f *follower) catchUp(i *instance, take func([]notifier.Missed) error, cut error) {
	f.behind = false
	switch err := i.CatchUp(f.t.Context(), f.s, take); {
	case err != nil && err != cut:
		f.t.Fatal(err)
	case err != nil:
		i.Leave(f.s)
		f.s = nil
	}
}

// TestMissed_EachEventOnceInOrder has clients with all kinds of filters cut off and
// come back, to instances that have read the log in other batches, or have just
// started, or remember little, and some that are too slow: each must have had
// exactly what was committed since it first came, once, and in order per key.
func TestMissed_EachEventOnceInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); seam(t, seed) })
	}
}

func seam(t *testing.T, seed uint64) {
	y := newMadeUpLog(seed)
	rng := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // made up
	memory := []int{1, 3000, 20_000, 1 << 20}[rng.IntN(4)]
	instances := []*instance{newInstance(t, y, memory), newInstance(t, y, 1<<20)}
	first := y.position()
	followers := make([]*follower, 6)
	for n := range followers {
		f := &follower{t: t, rng: rng, maxDistractions: 5, room: rng.IntN(2) * 5, cursor: notifier.Cursor{Point: notifier.Point{From: first, To: first}}}
		f.filter = [][]notifier.Filter{
			{{}}, {{Types: []string{"t0"}}}, {{Types: []string{"t1"}}, {Keys: []string{"k1", "k2"}}},
			manyFilters(),
		}[n%4]
		followers[n] = f
	}
	where := make(map[*follower]*instance)
	for range 400 {
		y.step()
		i := instances[rng.IntN(2)]
		f := followers[rng.IntN(len(followers))]
		switch n := rng.IntN(20); {
		case n < 4:
			i.read(1 + rng.IntN(10))
		case n == 4: // restarted
			was := i
			at := slices.Index(instances, i)
			instances[at] = newInstance(t, y, memory)
			for _, f := range followers {
				if where[f] == was {
					f.s, where[f] = nil, nil
				}
			}
		case n < 8 && f.s == nil && reached(i, f):
			where[f] = i
			f.connect(i, []int{3, 1000}[rng.IntN(2)])
		case n < 12 && f.s != nil:
			f.take(rng.IntN(8))
		case n == 12 && f.s != nil:
			where[f].Leave(f.s)
			f.s = nil
		}
		for _, f := range followers {
			if f.s != nil && f.behind && rng.IntN(3) == 0 {
				f.take(len(f.waiting))
				f.catchUp(where[f], func(chunk []notifier.Missed) error {
					for _, m := range chunk {
						f.receive(m.Event)
					}
					return nil
				}, nil)
			}
		}
	}
	instances[1].read(1000)
	for n, f := range followers {
		if f.s != nil {
			where[f].Leave(f.s)
		}
		f.room, f.maxDistractions = 0, 0
		f.connect(instances[1], 1<<30)
		f.take(1 << 30)
		f.check(n, y, first)
	}
}

// reached: a client would wait for an instance that has not come so far.
func reached(i *instance, f *follower) bool { return i.Point().To.Includes(f.cursor.Point.To) }

func manyFilters() []notifier.Filter {
	var all []notifier.Filter
	for n := range 12 {
		all = append(all, notifier.Filter{Keys: []string{fmt.Sprint("k", n)}})
	}
	return all
}

func (f *follower) check(n int, y *madeUpLog, first notifier.Position) {
	f.t.Helper()
	want := make(map[int64]*notifier.Event)
	for _, e := range y.done {
		if !first.Ended(e.TxID) && slices.ContainsFunc(f.filter, func(one notifier.Filter) bool { return one.Matches(e) }) {
			want[e.ID] = e
		}
	}
	last := make(map[string]int64)
	for _, had := range f.had {
		id := had.ID
		e := want[id]
		if e == nil {
			f.t.Errorf("follower %d: event %d came twice, or is none of its", n, id)
			continue
		}
		delete(want, id)
		if id < last[e.Key] {
			f.t.Errorf("follower %d: event %d of %s came after %d", n, id, e.Key, last[e.Key])
		}
		last[e.Key] = id
	}
	for id := range want {
		f.t.Errorf("follower %d: event %d is missing", n, id)
	}
}
