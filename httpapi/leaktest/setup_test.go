package leaktest

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// instance is one server without its sockets: it follows the log, and notes
// which events came in which batch.
type instance struct {
	*notifier.Hub
	db *db.DB

	// gate, if not nil, is asked before each page; the feed waits in it.
	gate func(notifier.Page)

	mu    sync.Mutex
	pages []page
}

// page is what is known of a page that was published.
type page struct {
	notifier.Page
	done time.Time // zero: it is being published
}

// Publish notes the page, also when it is done.
func (i *instance) Publish(ctx context.Context, p notifier.Page) error {
	if i.gate != nil {
		i.gate(p)
	}
	i.mu.Lock()
	at := len(i.pages)
	i.pages = append(i.pages, page{Page: p})
	i.mu.Unlock()
	err := i.Hub.Publish(ctx, p)
	i.mu.Lock()
	i.pages[at].done = time.Now()
	i.mu.Unlock()
	return err
}

// published returns the pages that are done.
func (i *instance) published() []page {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.pages
	for len(all) > 0 && all[len(all)-1].done.IsZero() {
		all = all[:len(all)-1]
	}
	return all
}

// has reports whether an event that a test wants to see has been published.
func (i *instance) has(want func(*notifier.Event) bool) bool {
	for _, p := range i.published() {
		if slices.ContainsFunc(p.Events, want) {
			return true
		}
	}
	return false
}

// passed waits until the instance has published what was committed by now.
func (i *instance) passed(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	mark := "mark " + strconv.FormatInt(time.Now().UnixNano(), 36)
	exec(t, conn, `SELECT notifier.publish('mark', key => $1, recipient => '')`, mark)
	dbtest.Eventually(t, "the log is published up to now", func() bool {
		return i.has(func(e *notifier.Event) bool { return e.Key == mark })
	})
}

// start runs an instance until the test ends and waits until it follows the log.
func start(t *testing.T, c db.Config, adjust ...func(*instance)) *instance {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := db.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	i := &instance{db: d}
	i.Hub = notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: d, Changes: d.AccessChanges, Accounts: d.AccountGenerations}})
	for _, change := range adjust {
		change(i)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the test
		if err := d.Feed(ctx, i); err != nil {
			t.Errorf("feed: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	dbtest.Eventually(t, "the feed follows the log", func() bool { return d.Ready() == nil })
	return i
}

// inbox is the receiver of a subscriber: it keeps the ids of its events.
type inbox struct {
	mu      sync.Mutex
	live    []int64
	replay  []int64
	revoked bool
	ended   notifier.Ending
}

// Behind and Broken never happen: there is always room, and one history.
func (*inbox) Behind()                {}
func (*inbox) Broken(notifier.Cursor) {}

func (b *inbox) Queue(frame []byte, _ int, _ *notifier.Event) *notifier.Event {
	id, _ := strconv.ParseInt(string(frame), 10, 64)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.live = append(b.live, id)
	return nil
}

func (b *inbox) Flush() {}

func (b *inbox) End(reason notifier.Ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = reason
}

func (b *inbox) Revoke([]*notifier.Subscription, notifier.Loss) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.revoked = true
}

func (b *inbox) received() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]int64(nil), b.live...)
}

// ids encodes an event as its id.
type ids struct{}

func (ids) Joins() bool { return false }

func (ids) Encode(events []*notifier.Event) []byte {
	return strconv.AppendInt(nil, events[0].ID, 10)
}

// subscribe joins the hub as a user to all that the filter wants, as a
// connection does: with what the policy says now, asked again if access changes
// meanwhile. It returns nil for a user who does not exist.
func (i *instance) subscribe(ctx context.Context, user string, f notifier.Filter) (*inbox, *notifier.Subscriber, *notifier.Subscription, notifier.Point, error) {
	b := &inbox{}
	s := notifier.NewSubscriber(user, ids{}, b)
	for {
		a, err := i.db.Admit(ctx, user, "", "")
		if err != nil || !a.Exists {
			i.Leave(s)
			return nil, nil, nil, notifier.Point{}, err
		}
		i.Join(s)
		sub, point, err := i.Subscribe(s, notifier.Viewer{User: user}, f, notifier.Permit{At: a.At})
		if err == nil {
			return b, s, sub, point, nil
		}
	}
}

// watch subscribes an existing user to everything until the test ends.
func (i *instance) watch(t *testing.T, user string, admin bool) *inbox {
	t.Helper()
	b := &inbox{}
	s := notifier.NewSubscriber(user, ids{}, b)
	i.Join(s)
	at := i.Point().To
	// The permit is as of now: this user's first verdicts are asked for anyway.
	if _, _, err := i.Subscribe(s, notifier.Viewer{User: user, Admin: admin}, notifier.Filter{}, notifier.Permit{At: at}); err != nil {
		t.Fatal(err)
	}
	return b
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// scalar returns the one value a statement selects.
func scalar[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var value T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}
