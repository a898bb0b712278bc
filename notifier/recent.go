package notifier

import (
	"cmp"
	"slices"
	"sort"
	"sync"
)

// recent is the end of the log, in memory, so that a thousand clients that come
// back at once are not a thousand queries for the same rows. It is a chain of
// batches, each of which begins where the one before ends; the last one grows
// while it is published. It is under the hub's lock.
type recent struct {
	maxBytes int
	bytes    int
	chain    []*link
	// extra is how much more there may be for a while, as something was read back
	// for some: until as much has come, which lapse tells, others find it here.
	extra, lapse int
	// skipped is where the batch begins that was published last, if it was more
	// than is kept: then the chain begins behind it. nil: it was not.
	skipped *Position
}

// link is a batch of the chain.
type link struct {
	from, to Position
	entries  []*entryFrames
}

// entryFrames is an event and what it was encoded to, for who comes later.
type entryFrames struct {
	*Event
	mu  sync.Mutex
	run *run // that begins with it; nil: it was not encoded yet
}

// eventBytes is what an event takes besides its texts.
const eventBytes = 400

func (e *entryFrames) size() int {
	const copies = 2 // the event, and about one frame
	return eventBytes + copies*(len(e.Payload)+len(e.Original)) + len(e.Type) + len(e.Action) + len(e.Key)
}

// frame returns the frame of the event and some that follow it.
func (e *entryFrames) frame(encoder Encoder, more []Missed) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == nil {
		e.run = newRun(e.Event)
	}
	r := e.run
	for _, m := range more {
		r = r.extend(m.Event)
	}
	return r.frame(encoder)
}

// begin starts the chain anew at a position.
func (r *recent) begin(at Position) {
	r.bytes, r.extra, r.lapse, r.skipped = 0, 0, 0, nil
	r.chain = []*link{{from: at, to: at}}
}

// open makes the batch between two positions the last of the chain, if it is not
// already: its last page may come with a lower end.
func (r *recent) open(from, to Position) {
	end := len(r.chain) - 1
	switch last := r.chain[end]; {
	case r.skipped != nil && r.skipped.Equal(from):
		last.from, last.to = to, to
		return
	case last.from.Equal(from) && len(last.entries) > 0:
		last.to = to
	case len(last.entries) == 0 && end > 0: // nothing came in between
		last.from, last.to = from, to
	default:
		r.chain = append(r.chain, &link{from: from, to: to})
	}
	r.skipped = nil
}

// add keeps an event of the last batch. It returns false if the batch is too much.
func (r *recent) add(e *Event) bool {
	if r.skipped != nil {
		return false
	}
	added := &entryFrames{Event: e}
	last := r.chain[len(r.chain)-1]
	last.entries = append(last.entries, added)
	size := added.size()
	r.bytes += size
	if r.lapse -= size; r.lapse < 0 {
		r.extra, r.lapse = 0, 0
	}
	for r.bytes > r.maxBytes+r.extra && len(r.chain) > 1 {
		r.drop()
	}
	if r.bytes > r.maxBytes+r.extra {
		r.begin(last.to)
		r.skipped = new(last.from) // a copy: the link must go
	}
	return r.skipped == nil
}

// drop forgets the oldest batch.
func (r *recent) drop() {
	for _, e := range r.chain[0].entries {
		r.bytes -= e.size()
	}
	r.chain[0] = nil
	r.chain = r.chain[1:]
}

// start returns the position from which on the chain has everything.
func (r *recent) start() Position { return r.chain[0].from }

// reachesBack reports whether the chain has all that a point does not cover.
func (r *recent) reachesBack(p Point) bool { return p.From.Includes(r.start()) }

// find returns the first batch that has something which the point does not cover.
func (r *recent) find(p Point) int {
	return sort.Search(len(r.chain), func(i int) bool { return !p.From.Includes(r.chain[i].to) })
}

// at returns the first entry that a point does not cover, by its batch and its
// place there. It is false if some are covered behind it: then no place of the
// chain has before it just what the point covers.
func (r *recent) at(p Point) (batch, entry int, ok bool) {
	i := r.find(p)
	if i < len(r.chain) && p.From.Equal(r.chain[i].from) && p.To.Equal(r.chain[i].to) {
		l := r.chain[i]
		n, _ := slices.BinarySearchFunc(l.entries, p.After+1, func(e *entryFrames, id int64) int { return cmp.Compare(e.ID, id) })
		return i, n, true
	}
	batch, entry, ok = len(r.chain), 0, true
	for ; i < len(r.chain) && !r.chain[i].from.Includes(p.To); i++ {
		for n, e := range r.chain[i].entries {
			switch covered := p.Covers(e.Event); {
			case covered && batch < len(r.chain):
				return 0, 0, false
			case !covered && batch == len(r.chain):
				batch, entry = i, n
			}
		}
	}
	return min(batch, i), entry, true
}

// between returns the events that had ended at to and not at the point, in the
// order of their ids, from the batches up to that with this end.
func (r *recent) between(p Point, to Position) []*Event {
	var found []*Event
	for _, l := range r.chain[r.find(Point{From: p.From, To: p.From}):] {
		if l.from.Includes(to) {
			break
		}
		for _, e := range l.entries {
			if to.Ended(e.TxID) && !p.From.Ended(e.TxID) && e.ID > p.After {
				found = append(found, e.Event)
			}
		}
	}
	slices.SortFunc(found, byID)
	return found
}

func byID(a, b *Event) int { return cmp.Compare(a.ID, b.ID) }

// prepend puts the events between a position and the chain's start, in the order
// of their ids, before it.
func (r *recent) prepend(of Span, from Position, events []*Event) {
	var earlier []*link
	end, before := r.start(), r.bytes
	for _, part := range cut(from, end, events) {
		span := &Span{History: of.History, life: of.life, From: part.from, To: part.to}
		l := &link{from: part.from, to: part.to, entries: make([]*entryFrames, len(part.events))}
		span.place(part.events, nil)
		for i, e := range part.events {
			l.entries[i] = &entryFrames{Event: e}
			r.bytes += l.entries[i].size()
		}
		earlier = append(earlier, l)
	}
	r.chain = append(earlier, r.chain...)
	r.lapse += r.bytes - before
	r.extra += 2 * (r.bytes - before) // this, and what comes until then
}

// room is how much may be read back.
func (r *recent) room() int { return (r.maxBytes/2 - r.extra) / 2 }

// part is a piece of a batch.
type part struct {
	from, to Position
	events   []*Event
}

// partEvents is the least number of events of a part, if there are as many.
const partEvents = 16

// cut divides a large batch where no event of a later transaction comes before
// one of an earlier: there, the order of ids is that of the transactions, and what
// lies before is a position. A client that was somewhere inside the batch then
// finds most of it behind such a place, where it is the same as for everybody.
func cut(from, to Position, events []*Event) []part {
	least := make([]uint64, len(events)) // transaction id of those from here on
	for i := len(events) - 1; i >= 0; i-- {
		least[i] = events[i].TxID
		if i+1 < len(events) {
			least[i] = min(least[i], least[i+1])
		}
	}
	var parts []part
	var largest uint64
	begun := 0
	for i, e := range events {
		largest = max(largest, e.TxID)
		if i+1 == len(events) || i+1-begun < partEvents || largest >= least[i+1] || largest+1 < from.xmax {
			continue
		}
		boundary := to.Lowered(largest)
		parts = append(parts, part{from, boundary, events[begun : i+1]})
		from, begun = boundary, i+1
	}
	return append(parts, part{from, to, events[begun:]})
}
