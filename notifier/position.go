package notifier

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Position says which transactions had ended at some moment, as a Postgres
// snapshot does: all below its xmax but those in progress. Neither a timestamp
// nor a sequence can say that, because a transaction that began earlier may
// commit later. A Position is immutable; the zero value is before all history.
type Position struct {
	xmax       uint64
	inProgress []uint64 // sorted, all below xmax
}

// ParsePosition reads the text form of a pg_snapshot, "xmin:xmax:xip,xip".
func ParsePosition(text string) (Position, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return Position{}, fmt.Errorf("parse position %q: want xmin:xmax:xip", text)
	}
	xmin, err := parseTxID(parts[0])
	if err != nil {
		return Position{}, fmt.Errorf("parse position %q: %w", text, err)
	}
	p := Position{}
	if p.xmax, err = parseTxID(parts[1]); err != nil {
		return Position{}, fmt.Errorf("parse position %q: %w", text, err)
	}
	last := xmin
	for field := range strings.SplitSeq(parts[2], ",") {
		if field == "" && parts[2] == "" {
			break
		}
		id, err := parseTxID(field)
		if err != nil {
			return Position{}, fmt.Errorf("parse position %q: %w", text, err)
		}
		if id < last || id >= p.xmax || len(p.inProgress) > 0 && id == last {
			return Position{}, fmt.Errorf("parse position %q: transaction %d is out of order", text, id)
		}
		p.inProgress = append(p.inProgress, id)
		last = id
	}
	if xmin > p.xmax {
		return Position{}, fmt.Errorf("parse position %q: xmin is beyond xmax", text)
	}
	return p, nil
}

func parseTxID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("transaction id %q is not a positive integer", text)
	}
	return id, nil
}

// String returns the text form of a pg_snapshot.
func (p Position) String() string {
	xmin := max(p.xmax, 1)
	if len(p.inProgress) > 0 {
		xmin = p.inProgress[0]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d:", xmin, max(p.xmax, 1))
	for i, id := range p.inProgress {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(id, 10))
	}
	return b.String()
}

// Xmax returns the first transaction id the position knows nothing about.
func (p Position) Xmax() uint64 { return p.xmax }

// InProgress returns the transactions below Xmax that had not ended, sorted.
// The caller must not change it.
func (p Position) InProgress() []uint64 { return p.inProgress }

// Equal reports whether both positions say the same of every transaction.
func (p Position) Equal(q Position) bool {
	return p.xmax == q.xmax && slices.Equal(p.inProgress, q.inProgress)
}

// Ended reports whether the transaction had committed or rolled back.
func (p Position) Ended(txid uint64) bool {
	if txid >= p.xmax {
		return false
	}
	_, running := slices.BinarySearch(p.inProgress, txid)
	return !running
}

// Includes reports whether all that had ended at q had ended at p too: whether
// p is not older than q.
func (p Position) Includes(q Position) bool {
	if p.xmax < q.xmax {
		return false
	}
	for _, id := range p.inProgress {
		if id >= q.xmax {
			break
		}
		if q.Ended(id) {
			return false
		}
	}
	return true
}

// Lowered returns the position with its xmax at most one past the largest
// transaction id read so far. After a crash, Postgres hands out again the ids
// of transactions that rolled back without reaching the disk; a position that
// had stepped over them would skip the commits that reuse them.
func (p Position) Lowered(largestRead uint64) Position {
	if largestRead >= p.xmax {
		return p
	}
	xmax := largestRead + 1
	n, _ := slices.BinarySearch(p.inProgress, xmax)
	return Position{xmax: xmax, inProgress: p.inProgress[:n:n]}
}

// Meet returns the position at which only what had ended at both has ended.
func (p Position) Meet(q Position) Position {
	xmax := min(p.xmax, q.xmax)
	var running []uint64
	for _, id := range slices.Concat(p.inProgress, q.inProgress) {
		if id < xmax {
			running = append(running, id)
		}
	}
	slices.Sort(running)
	return Position{xmax: xmax, inProgress: slices.Compact(running)}
}

// Join returns the position at which has ended what had at either.
func (p Position) Join(q Position) Position {
	if p.xmax < q.xmax {
		p, q = q, p
	}
	var running []uint64
	for _, id := range p.inProgress {
		if !q.Ended(id) {
			running = append(running, id)
		}
	}
	return Position{xmax: p.xmax, inProgress: running}
}

// TxIDRange is the transaction ids from First up to, not including, End.
type TxIDRange struct{ First, End uint64 }

// Between returns the transactions that had ended at to and not at from, as
// disjoint ranges in rising order. A transaction that is still open is in none
// of them, so that its rows, however many, are never visited.
func Between(from, to Position) []TxIDRange {
	var ranges []TxIDRange
	for _, id := range from.inProgress {
		if to.Ended(id) {
			ranges = appendRange(ranges, TxIDRange{id, id + 1})
		}
	}
	next := from.xmax
	for _, id := range to.inProgress {
		if id < next {
			continue
		}
		ranges = appendRange(ranges, TxIDRange{next, id})
		next = id + 1
	}
	return appendRange(ranges, TxIDRange{next, to.xmax})
}

func appendRange(ranges []TxIDRange, r TxIDRange) []TxIDRange {
	if r.First >= r.End {
		return ranges
	}
	if n := len(ranges); n > 0 && ranges[n-1].End == r.First {
		ranges[n-1].End = r.End
		return ranges
	}
	return append(ranges, r)
}

// Point is a place in the log: all that had ended at From, and of the batch
// between From and To the events up to the id After.
type Point struct {
	From, To Position
	After    int64
}

// Covers reports whether an event lies before the point.
func (p Point) Covers(e *Event) bool {
	if p.From.Ended(e.TxID) {
		return true
	}
	return e.ID <= p.After && p.To.Ended(e.TxID)
}
