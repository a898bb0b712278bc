package notifier

import (
	"context"
	"errors"
	"time"
)

// extension is the recent log being read further back. One client does that for
// all who need it at the time.
type extension struct {
	done chan struct{}
	// wanted is how far those need it who wait; nil: nobody does.
	wanted *Position
}

var errTooMuch = errors.New("more than what is kept in memory")

// extend reads the recent log back to a point. It returns false if that is more
// than may be kept.
func (h *Hub) extend(ctx context.Context, p Point) (bool, error) {
	h.mu.Lock()
	for {
		switch {
		case h.recent.reachesBack(p):
			h.mu.Unlock()
			return true, nil
		case h.tooFar != nil && h.tooFar.Includes(p.From), h.aheadLocked():
			h.mu.Unlock()
			return false, nil
		}
		if h.extending == nil {
			return h.extendLocked(ctx, p.From)
		}
		running := h.extending
		if running.wanted == nil {
			running.wanted = &p.From
		} else {
			running.wanted = new(running.wanted.Meet(p.From))
		}
		h.mu.Unlock()
		select {
		case <-running.done:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		h.mu.Lock()
		h.meet = running.wanted // by whoever is first
	}
}

// extendLocked reads the log from a position to where memory begins; it unlocks.
func (h *Hub) extendLocked(ctx context.Context, from Position) (bool, error) {
	if h.meet != nil {
		from = from.Meet(*h.meet)
		h.meet = nil
	}
	mine := &extension{done: make(chan struct{})}
	h.extending = mine
	to, life, room := h.recent.start(), h.life, h.recent.room()
	from = from.Meet(to)
	h.mu.Unlock()
	events, err := h.readAll(ctx, from, to, room)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.extending = nil
	close(mine.done)
	switch {
	case life != h.life:
		return false, ErrGap
	case errors.Is(err, errTooMuch):
		h.tooFar = &from
		return false, nil
	case errors.Is(err, ErrGap): // who reads by itself finds out whether it misses something
		return false, nil
	case err != nil:
		return false, err
	case !to.Equal(h.recent.start()): // it has been cut off meanwhile: there is much to come
		return false, nil
	}
	h.recent.prepend(Span{History: h.history, life: h.life}, from, events)
	return true, nil
}

// aheadLocked reports whether memory begins where the hub is not yet.
func (h *Hub) aheadLocked() bool { return !h.point.From.Includes(h.recent.start()) }

// readAll reads what lies between two positions, if it is no more than so many
// bytes.
func (h *Hub) readAll(ctx context.Context, from, to Position, room int) (all []*Event, err error) {
	h.mu.Lock()
	begun := Cursor{History: h.history, Point: Point{From: from, To: from}}
	h.mu.Unlock()
	err = h.log.Between(ctx, from, to, 0, func(page []*Event) error {
		for _, e := range page {
			if e.Control != "" {
				continue
			}
			all = append(all, e)
			if room -= (&entryFrames{Event: e}).size(); room < 0 {
				return errTooMuch
			}
		}
		return nil
	})
	if err == nil {
		err = h.whole(ctx, begun)
	}
	return all, err
}

// readBack brings a walk to where memory begins: by having memory reach back to
// where it is, or, if that is too far, by reading page by page for it alone.
func (w *walk) readBack(ctx context.Context, yield func([]Missed) error) error {
	if w.hub.log == nil {
		return errNoLog
	}
	if w.until == nil { // it is not to get what the hub has not come to
		if err := w.hub.awaitMemory(ctx); err != nil {
			return err
		}
	}
	if ok, err := w.hub.extend(ctx, w.at); ok || err != nil {
		return err
	}
	if w.at.After > 0 {
		if err := w.read(ctx, w.at.To, yield); err != nil {
			return err
		}
	}
	w.hub.mu.Lock()
	start := w.hub.recent.start()
	w.hub.mu.Unlock()
	if w.until == nil || w.until.From.Includes(start) {
		return w.read(ctx, w.at.To.Join(start), yield) // neither need be before the other
	}
	// Memory begins only behind the end of the walk, as much has come meanwhile.
	if err := w.read(ctx, w.at.To.Join(w.until.From), yield); err != nil {
		return err
	}
	if w.until.After > 0 {
		if err := w.read(ctx, w.at.To.Join(w.until.To), yield); err != nil {
			return err
		}
	}
	w.over = true
	return nil
}

// awaitMemory returns when the hub has come to where memory begins. That is behind
// a batch that was too much for it.
func (h *Hub) awaitMemory(ctx context.Context) error {
	return await(ctx, time.Second, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !h.aheadLocked()
	})
}

// read yields what comes next up to a position, from the log.
func (w *walk) read(ctx context.Context, to Position, yield func([]Missed) error) error {
	h := w.hub
	if w.at.To.Equal(to) && w.at.After == 0 {
		return nil
	}
	h.mu.Lock()
	begun := w.cursorLocked()
	h.mu.Unlock()
	span := &Span{History: begun.History, life: w.life, From: begun.Point.From, To: to, before: begun.Anchor}
	var anchor *Event
	err := h.log.Between(ctx, span.From, to, begun.Point.After, func(page []*Event) error {
		if err := h.whole(ctx, begun); err != nil { // before anything is sent from behind a hole
			return err
		}
		anchor = span.place(page, anchor)
		found, err := w.judge(ctx, page)
		if err != nil {
			return err
		}
		last := page[len(page)-1]
		w.at = Point{From: span.From, To: to, After: last.ID}
		if anchor != nil {
			w.latest = anchor
		}
		if len(found) == 0 {
			return nil
		}
		return yield(found)
	})
	if err == nil {
		err = h.whole(ctx, begun) // the last of them, too
	}
	if err != nil {
		return err
	}
	w.at = Point{From: to, To: to}
	return nil
}

// whole returns [ErrGap] if retention may have taken some of what was read from a
// cursor on.
func (h *Hub) whole(ctx context.Context, begun Cursor) error {
	switch ok, err := h.log.Resumable(ctx, begun); {
	case err != nil:
		return err
	case !ok:
		return ErrGap
	}
	return nil
}

// judge returns those events of a page that the client is still to get.
func (w *walk) judge(ctx context.Context, page []*Event) (all []Missed, err error) {
	for pause := firstPolicyRetry; len(page) > 0; {
		found, open, looked, err := w.sift(page)
		switch {
		case err != nil:
			return nil, err
		case len(open) > 0:
			if err := w.ask(ctx, open, &pause); err != nil {
				return nil, err
			}
		default:
			all, page = append(all, found...), page[looked:]
		}
	}
	return all, nil
}

// sift looks at the first events of a page, all under one lock.
func (w *walk) sift(page []*Event) (found []Missed, open []openQuestion, looked int, err error) {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case w.life != h.life:
		return nil, nil, 0, ErrGap
	case w.wanted.gone():
		return nil, nil, 0, ErrGone
	}
	now := time.Now()
	for w.wanted.tries = 0; looked < len(page) && w.wanted.tries < scanTries; looked++ {
		e := page[looked]
		if e.Control != "" || w.until != nil && !w.until.Covers(e) {
			continue
		}
		readable, more := w.judgeLocked(e, now)
		if readable {
			found = append(found, Missed{Event: e})
		}
		open = append(open, more...)
	}
	return found, open, looked, nil
}
