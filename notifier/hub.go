package notifier

import (
	"errors"
	"maps"
	"slices"
	"sync"
)

// Page is a part of the batch of events between two positions.
type Page struct {
	From, To Position
	Events   []*Event // in the order of their ids
	Last     bool     // nothing of the batch follows
	// Controls are the control events of the whole batch, on its first page:
	// what they say of access holds before any event of the batch.
	Controls []*Event
	// Clock tells about when the page's transactions committed.
	Clock Clock
}

// Hub finds for each event the subscribers it is for and who may see it, and
// queues it at their receivers. It is fed by one goroutine, by Start and
// Publish; all other methods may be called from any. Create one with [NewHub].
type Hub struct {
	access AccessConfig
	log    Log

	mu          sync.Mutex
	point       Point
	life        int // how often it was started
	history     History
	anchor      Anchor  // where it was started
	begun       *Cursor // where that was
	latest      *Event  // the anchor since then; nil: that one
	here        *Cursor // of the point it was last asked at
	recent      recent
	extending   *extension // nil: nobody reads further back
	meet        *Position  // how far those need it who wait
	tooFar      *Position  // from here on, it is too much for memory
	index       index
	subscribers map[*Subscriber]struct{}
	users       map[string]*reader
	learned     int // verdicts, since they were last counted
	// accounts are the subscriptions that rest on one, by its user.
	accounts map[string]map[*Subscription]struct{}
	// restarted: what happened to them before Start is not known.
	restarted bool
	// floor is where access has changed last: older verdicts don't count.
	floor   Position
	changes changes // of the batch that is being published
	ahead   changes // that the policy knew of before they are published
	// superseded are those of whom something is known from before the batch.
	superseded []*reader

	stats HubStats // but for what Stats adds

	// Only the feeding goroutine uses these, under mu.
	candidates []*Subscription
	touched    []*Subscriber
	dropped    []*Subscriber
	fallen     []*Subscriber // behind, since now

	readers int // subscribers that are behind
}

// HubConfig is what a [Hub] is made from.
type HubConfig struct {
	Access AccessConfig
	// Log is where the events are read from that subscribers have missed; nil:
	// only what is in memory can be had.
	Log Log
	// RecentBytes bounds about the memory for the newest events, which serve those
	// who have missed a few; 0: 64 MiB.
	RecentBytes int
}

const defaultRecentBytes = 64 << 20

// NewHub returns a hub without subscribers that stands before all history.
func NewHub(c HubConfig) *Hub {
	access := c.Access
	if c.RecentBytes == 0 {
		c.RecentBytes = defaultRecentBytes
	}
	if access.MaxAge == 0 {
		access.MaxAge = defaultVerdictAge
	}
	if access.MaxVerdicts == 0 {
		access.MaxVerdicts = defaultMaxVerdicts
	}
	h := &Hub{
		access:      access,
		log:         c.Log,
		recent:      recent{maxBytes: c.RecentBytes},
		index:       newIndex(),
		subscribers: make(map[*Subscriber]struct{}),
		users:       make(map[string]*reader),
		accounts:    make(map[string]map[*Subscription]struct{}),
	}
	h.recent.begin(Position{})
	return h
}

// Start puts the hub at a beginning without delivering anything: where live
// begins. The feed calls it before the first page, and again when the history
// it followed has broken off; what was known of access is asked anew.
func (h *Hub) Start(b Beginning) {
	for _, s := range h.start(b) {
		s.receiver.Broken(Cursor{History: b.History, Point: Point{From: b.Position, To: b.Position}, Anchor: b.Anchor})
	}
}

// start returns whom it concerns if there was another history before.
func (h *Hub) start(b Beginning) (cut []*Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		s.behind = nil
		if h.life > 0 {
			cut = append(cut, s)
		}
	}
	h.life++
	h.readers = 0
	h.history, h.anchor, h.latest, h.here = b.History, b.Anchor, nil, nil
	h.begun = &Cursor{History: b.History, Point: Point{From: b.Position, To: b.Position}, Anchor: b.Anchor}
	h.recent.begin(b.Position)
	h.meet, h.tooFar = nil, nil
	h.point = Point{From: b.Position, To: b.Position}
	h.floor = b.Position
	h.restarted = len(h.accounts) > 0
	h.forgetChangesLocked()
	h.ahead = changes{}
	for _, r := range h.users {
		r.verdicts, r.replayed = nil, nil
	}
	return cut
}

// Continue says that the log goes on in another history, with nothing lost: a
// standby was promoted. What was published before is of both. The feed calls it.
func (h *Hub) Continue(history History) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history, h.here = history, nil
}

// Point returns the place up to which the hub has published.
func (h *Hub) Point() Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.point
}

// Join makes the subscriber known, so that it is listed, and dropped with its
// user. It receives nothing before it subscribes.
func (h *Hub) Join(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; ok {
		return
	}
	h.subscribers[s] = struct{}{}
	if s.user != "" {
		h.admitLocked(s, s.user)
	}
}

// admitLocked notes that the subscriber acts for the user.
func (h *Hub) admitLocked(s *Subscriber, user string) *reader {
	r := h.users[user]
	if r == nil {
		r = &reader{user: user, subscribers: make(map[*Subscriber]int, 1)}
		h.users[user] = r
	}
	r.subscribers[s]++
	return r
}

func (h *Hub) dismissLocked(s *Subscriber, user string) {
	r := h.users[user]
	if r == nil {
		return
	}
	if r.subscribers[s]--; r.subscribers[s] > 0 {
		return
	}
	delete(r.subscribers, s)
	if len(r.subscribers) == 0 {
		delete(h.users, user)
	}
}

// Reasons for which a subscription can't be had.
var (
	// ErrGone says that the subscriber has left or was dropped.
	ErrGone = errors.New("the subscriber is gone")
	// ErrStalePermit says that access has changed since the permit was
	// computed: it must be asked for again.
	ErrStalePermit = errors.New("access has changed meanwhile")
	// ErrBehind says that the subscriber must be live first: what it missed before
	// it fell behind goes ahead.
	ErrBehind = errors.New("the subscriber is behind")

	errNoAccounts = errors.New("the hub can't look after accounts")
)

// Subscribe adds a filter to a subscriber that has joined. Every event the
// filter wants, the viewer may see, and the returned point does not cover will
// be queued; replay owes those it covers. An event that several filters of one
// subscriber want is queued once.
func (h *Hub) Subscribe(s *Subscriber, v Viewer, f Filter, permit Permit) (*Subscription, Point, error) {
	subs, here, err := h.SubscribeAll(s, v, permit, false, f)
	if err != nil {
		return nil, here.Point, err
	}
	return subs[0], here.Point, nil
}

// SubscribeAll adds several filters at once, all from the same point on. With
// behind, the subscriber, who must be live, gets nothing more by itself until
// [Hub.CatchUp]: what it is owed from before the point goes first.
func (h *Hub) SubscribeAll(s *Subscriber, v Viewer, permit Permit, behind bool, filters ...Filter) ([]*Subscription, Cursor, error) {
	return h.subscribe(s, v, behind, filters, func(int) *Permit { return &permit })
}

// SubscribeEach is SubscribeAll with a permit for each of the filters.
func (h *Hub) SubscribeEach(s *Subscriber, v Viewer, permits []Permit, behind bool, filters ...Filter) ([]*Subscription, Cursor, error) {
	return h.subscribe(s, v, behind, filters, func(i int) *Permit { return &permits[i] })
}

func (h *Hub) subscribe(s *Subscriber, v Viewer, behind bool, filters []Filter, permit func(i int) *Permit) ([]*Subscription, Cursor, error) {
	topics := make([][]topic, len(filters)) // may be thousands: not under the lock
	for i := range filters {
		topics[i] = filters[i].topics()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	here := h.hereLocked()
	if _, ok := h.subscribers[s]; !ok {
		return nil, *here, ErrGone
	}
	for i := range filters {
		if err := h.checkLocked(v, permit(i)); err != nil {
			return nil, *here, err
		}
	}
	if behind && s.behind != nil {
		return nil, *here, ErrBehind
	}
	subs := make([]*Subscription, len(filters))
	for i, f := range filters {
		subs[i] = &Subscription{
			subscriber: s, viewer: v, reader: h.admitLocked(s, v.User),
			filter: f, plain: f.plain(), permit: *permit(i), start: here,
		}
		s.keep(subs[i])
		h.index.add(subs[i], topics[i])
		h.restLocked(subs[i])
	}
	h.stats.Subscriptions += len(subs)
	if behind {
		h.holdLocked(s)
	}
	return subs, *here, nil
}

// checkLocked reports whether a permit still counts.
func (h *Hub) checkLocked(v Viewer, permit *Permit) error {
	if permit.Account != nil && (h.access.Accounts == nil || h.access.Policy == nil) {
		return errNoAccounts
	}
	checked := !v.Admin || permit.Account != nil
	if h.access.Policy != nil && checked && !permit.At.Includes(h.floor) {
		return ErrStalePermit
	}
	return nil
}

// Unsubscribe takes a filter back; a second time it does nothing.
func (h *Hub) Unsubscribe(sub *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unsubscribeLocked(sub)
}

// Replace takes a filter back for one in its place. What the older one is still
// owed, as its subscriber is behind, the newer one gets if it is of the same viewer.
func (h *Hub) Replace(older, newer *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if older.place != 0 && older.viewer == newer.viewer {
		newer.start = older.start
	}
	h.unsubscribeLocked(older)
}

func (h *Hub) unsubscribeLocked(sub *Subscription) bool {
	s := sub.subscriber
	if sub.place == 0 {
		return false
	}
	h.stats.Subscriptions--
	s.discard(sub)
	h.index.remove(sub)
	h.unrestLocked(sub)
	h.dismissLocked(s, sub.viewer.User)
	return true
}

// Leave forgets the subscriber and all its subscriptions; a second time it does
// nothing.
func (h *Hub) Leave(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveLocked(s)
}

func (h *Hub) leaveLocked(s *Subscriber) {
	if _, ok := h.subscribers[s]; !ok {
		return
	}
	for len(s.subscriptions) > 0 {
		h.unsubscribeLocked(s.subscriptions[len(s.subscriptions)-1])
	}
	delete(h.subscribers, s)
	h.goOnLocked(s)
	if s.user != "" {
		h.dismissLocked(s, s.user)
	}
}

// Users returns every user with a subscriber here once, sorted.
func (h *Hub) Users() []string {
	h.mu.Lock()
	users := slices.Collect(maps.Keys(h.users))
	h.mu.Unlock()
	slices.Sort(users)
	return users
}

// Beginning is where a hub begins to follow a log.
type Beginning struct {
	Position Position
	History  History
	Anchor   Anchor // of the position
}
