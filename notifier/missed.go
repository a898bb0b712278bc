package notifier

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Log is where the events are stored.
type Log interface {
	// Between yields the events of the transactions that had ended at to and not
	// at from, those with an id up to after left out: in the order of ids, in
	// bounded pages. It may be kept waiting by what it yields to.
	Between(ctx context.Context, from, to Position, after int64, yield func([]*Event) error) error
	// Resumable reports whether all that a cursor does not cover is still there,
	// in the history that the log has now.
	Resumable(ctx context.Context, c Cursor) (bool, error)
}

// Reasons for which what was missed can't be had.
var (
	// ErrGap says that it is not there any more: the log was cut off behind the
	// place, or is another one now.
	ErrGap = errors.New("the log no longer has what came next")

	errNoLog = errors.New("the hub has no log to read from")
)

const (
	// scanEvents and scanTries bound the events that are looked at in one go under
	// the lock, and how often by a subscription; chunkEvents and chunkBytes bound
	// those that are handed on together.
	scanEvents  = 1024
	scanTries   = 4096
	chunkEvents = 256
	chunkBytes  = 256 << 10
)

// Missed is an event that a client is still to get.
type Missed struct {
	*Event
	shared *entryFrames // nil: nobody else gets it with the same cursor
}

// NextFrame returns the frame for the first of some events, and for those that may
// go into it with that one, and how many these are; nil: they are not for clients of
// this protocol.
func NextFrame(missed []Missed, encoder Encoder) (frame []byte, events int) {
	first := missed[0]
	n := 1
	for encoder.Joins() && n < len(missed) && missed[n].TxID == first.TxID && (missed[n].shared == nil) == (first.shared == nil) {
		n++
	}
	if first.shared != nil {
		return first.shared.frame(encoder, missed[1:n]), n
	}
	list := make([]*Event, n)
	for i, m := range missed[:n] {
		list[i] = m.Event
	}
	return encoder.Encode(list), n
}

// Missed yields what of the log lies between a client's cursor and the point
// where live begins for its subscriptions, in chunks, in order, each event once.
// Whether the cursor is any good, the caller has found out, see
// [Log.Resumable]. [ErrGap] says that what is missed can't be had, or not all of
// it, [ErrGone] that the subscriptions have ended.
func (h *Hub) Missed(ctx context.Context, subs []*Subscription, from Cursor, until Point, yield func([]Missed) error) error {
	w := &walk{hub: h, at: from.Point, anchor: from.Anchor, wanted: wantedBy(subs), until: &until}
	h.mu.Lock()
	w.life = h.life
	h.mu.Unlock()
	return w.run(ctx, yield)
}

// Await returns when the hub has come to a point: an application, or another
// instance, may be ahead.
func (h *Hub) Await(ctx context.Context, p Point) error {
	return await(ctx, 50*time.Millisecond, func() bool { return h.Point().reaches(p) })
}

// await returns when something is so, looking again and again, with growing pauses.
func await(ctx context.Context, longest time.Duration, so func() bool) error {
	for pause := time.Millisecond; !so(); pause = min(2*pause, longest) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

// walk goes through the log for some subscriptions of one subscriber.
type walk struct {
	hub    *Hub
	life   int // of the hub: another one has another history
	wanted wanted
	// at is the point up to which they have had everything, or were not to have
	// it.
	at     Point
	anchor Anchor // of where it began
	latest *Event // the anchor since then; nil: that one
	until  *Point // nil: where the hub is
	over   bool   // it is there
	// apart are the next events at a place that is no place of the chain.
	apart    []*Event
	apartEnd Point // behind them
}

// run yields until the end is reached.
func (w *walk) run(ctx context.Context, yield func([]Missed) error) error {
	for {
		chunk, state, err := w.next(ctx)
		if err != nil {
			return err
		}
		if len(chunk) > 0 {
			if err := yield(chunk); err != nil {
				return err
			}
		}
		switch state {
		case ended:
			return nil
		case tooOld:
			if err := w.readBack(ctx, yield); err != nil {
				return err
			}
		case more:
		}
	}
}

// walkState is what to do next.
type walkState int

const (
	more   walkState = iota // call again
	ended                   // there is nothing more
	tooOld                  // what comes next is not in memory
)

// next returns the next chunk from memory; the policy may have to be asked.
func (w *walk) next(ctx context.Context) ([]Missed, walkState, error) {
	for pause := firstPolicyRetry; ; {
		found, open, state, err := w.look()
		if err != nil || len(open) == 0 {
			return found, state, err
		}
		if err := w.ask(ctx, open, &pause); err != nil {
			return nil, state, err
		}
	}
}

// ask has the policy answer what is open; who comes too late tries again.
func (w *walk) ask(ctx context.Context, open []openQuestion, pause *time.Duration) error {
	questions := make([]Question, len(open))
	at := open[0].sub.permit.At
	for i, o := range open {
		questions[i] = o.Question
		if o.sub.permit.At.Includes(at) {
			at = o.sub.permit.At
		}
	}
	err := w.hub.askForReplay(ctx, at, questions)
	if err == nil || !errors.Is(err, errStalePolicy) || *pause > lastPolicyRetry {
		return err
	}
	*pause *= 2
	return nil
}

// look takes the next chunk, all under one lock, and moves on behind it, unless
// something must be asked first.
func (w *walk) look() (found []Missed, open []openQuestion, state walkState, err error) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.lookLocked()
}

func (w *walk) lookLocked() (found []Missed, open []openQuestion, state walkState, err error) {
	h := w.hub
	switch {
	case w.life != h.life:
		return nil, nil, ended, ErrGap
	case w.wanted.gone():
		return nil, nil, ended, ErrGone
	case w.over:
		return nil, nil, ended, nil
	case len(w.apart) == 0 && !h.recent.reachesBack(w.at):
		return nil, nil, tooOld, nil
	}
	now := time.Now()
	size, looked := 0, 0
	w.wanted.tries = 0
	state = w.upcomingLocked(func(m Missed, behind place) bool {
		var readable bool
		if readable, open = w.judgeLocked(m.Event, now); len(open) > 0 {
			return false
		}
		w.step(behind, m.Event)
		looked++
		if readable {
			found = append(found, m)
			size += len(m.Payload) + len(m.Original)
		}
		return len(found) < chunkEvents && size <= chunkBytes && looked < scanEvents && w.wanted.tries < scanTries
	})
	h.stats.CaughtUp += int64(len(found))
	switch {
	case len(open) == 0:
		return found, nil, state, nil
	case len(found) > 0:
		return found, nil, more, nil // these first
	}
	return nil, w.lookAheadLocked(open, now), more, nil
}

// place is where a walk is behind an event.
type place struct {
	at    Point
	apart bool
}

// upcomingLocked yields the next events and the places behind them, until yield
// has had enough.
func (w *walk) upcomingLocked(yield func(Missed, place) bool) walkState {
	r := &w.hub.recent
	if len(w.apart) == 0 {
		w.leaveApartLocked()
	}
	apart := w.apart // yield takes from it
	for _, e := range apart {
		if w.until != nil && !w.until.Covers(e) {
			return ended
		}
		if !yield(Missed{Event: e}, place{Point{From: e.span.From, To: e.span.To, After: e.ID}, true}) {
			return more
		}
	}
	if len(apart) > 0 {
		return more
	}
	batch, entry, _ := r.at(w.at)
	for ; batch < len(r.chain); batch, entry = batch+1, 0 {
		l := r.chain[batch]
		for _, e := range l.entries[entry:] {
			if w.until != nil && !w.until.Covers(e.Event) {
				return ended
			}
			if !yield(Missed{Event: e.Event, shared: e}, place{Point{From: l.from, To: l.to, After: e.ID}, false}) {
				return more
			}
		}
	}
	return ended
}

func (w *walk) step(behind place, e *Event) {
	w.at = behind.at
	if w.latest == nil && e.TxID >= w.anchor.TxID || w.latest != nil && e.TxID >= w.latest.TxID {
		w.latest = e
	}
	if !behind.apart {
		return
	}
	if w.apart = w.apart[1:]; len(w.apart) == 0 {
		w.at = w.apartEnd
	}
}

// cursor is where the walk is.
func (w *walk) cursorLocked() Cursor {
	c := Cursor{History: w.hub.history, Point: w.at, Anchor: w.anchor}
	if w.latest != nil {
		c.Anchor = AnchorOf(w.latest)
	}
	return c
}

// leaveApartLocked brings a walk from a place that only it knows to one of the
// chain: through what is left of the batch it is in, and then to the end of the
// batch of the chain that its own one reaches into. The events between have
// cursors of their own, as another client's cover other events.
func (w *walk) leaveApartLocked() {
	r := &w.hub.recent
	for range 2 {
		if _, _, ok := r.at(w.at); ok {
			return
		}
		to := w.at.To
		if w.at.After == 0 {
			i := slices.IndexFunc(r.chain, func(l *link) bool { return l.to.Includes(w.at.To) })
			if i < 0 { // the hub has not come so far
				return
			}
			to = r.chain[i].to
		}
		w.setApart(r.between(w.at, to), to)
		if len(w.apart) > 0 {
			return
		}
		w.at = Point{From: to, To: to}
	}
}

// setApart makes copies of events, in the order of their ids, the next ones: as many
// as are looked at in one go.
func (w *walk) setApart(events []*Event, to Position) {
	span := &Span{History: w.hub.history, life: w.life, From: w.at.From, To: to, before: w.cursorLocked().Anchor}
	w.apartEnd = Point{From: to, To: to}
	if len(events) > scanEvents {
		events = events[:scanEvents]
		w.apartEnd = Point{From: w.at.From, To: to, After: events[scanEvents-1].ID}
	}
	copies := make([]Event, len(events))
	w.apart = make([]*Event, len(events))
	for i, e := range events {
		copies[i] = *e
		w.apart[i] = &copies[i]
	}
	span.place(w.apart, nil)
}
