package notifier

// Span is the batch of the log that an event was read in. All its events share it.
type Span struct {
	History  History
	From, To Position
	life     int // of the hub
	// before is the anchor of From.
	before Anchor
}

// Cursor returns the place right behind the event, for who has had all that comes
// before it. An event that was not read from the log in its order has none.
func (e *Event) Cursor() (c Cursor, ok bool) {
	if e.span == nil {
		return Cursor{}, false
	}
	return Cursor{
		History: e.span.History,
		Point:   Point{From: e.span.From, To: e.span.To, After: e.ID},
		Anchor:  e.anchored(),
	}, true
}

// anchored returns the anchor of the place behind an event of the log. It will do
// for the place before it, too.
func (e *Event) anchored() Anchor {
	if e.anchor == nil {
		return e.span.before
	}
	return AnchorOf(e.anchor)
}

// before returns the place right before an event of the log.
func (e *Event) before() Point {
	if e.ID <= 1 {
		return Point{From: e.span.From, To: e.span.From}
	}
	return Point{From: e.span.From, To: e.span.To, After: e.ID - 1}
}

// place puts events, which are in the order of the log, into a span. It returns
// the last anchor, nil if that is still the one before the span.
func (s *Span) place(events []*Event, anchor *Event) *Event {
	for _, e := range events {
		e.span = s
		if anchor == nil && e.TxID >= s.before.TxID || anchor != nil && e.TxID >= anchor.TxID {
			anchor = e
		}
		e.anchor = anchor
	}
	return anchor
}

// reaches reports whether another point lies before this one, or in the same batch
// and not behind it.
func (p Point) reaches(q Point) bool {
	return p.From.Includes(q.To) || p.From.Equal(q.From) && p.To.Includes(q.To) && p.After >= q.After
}
