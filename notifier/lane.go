package notifier

import "sync"

// lane is a queue of frames in chunks, so that it grows without copying and an
// empty one holds no memory: most clients are idle most of the time. The zero
// lane is empty.
type lane struct {
	first, last *chunk
	from        int // of the first chunk: what comes before is gone
	length      int // frames
	events      int // that they carry
	bytes       int
}

type queuedFrame struct {
	frame  []byte
	events int
	first  *Event // of them
}

const chunkFrames = 32

// chunk is a part of a lane.
type chunk struct {
	frames [chunkFrames]queuedFrame
	used   int
	next   *chunk
}

// chunks are between two uses; they hold no frames.
var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (l *lane) push(f queuedFrame) {
	if l.last == nil || l.last.used == chunkFrames {
		added := chunks.Get().(*chunk)
		if l.last == nil {
			l.first = added
		} else {
			l.last.next = added
		}
		l.last = added
	}
	l.last.frames[l.last.used] = f
	l.last.used++
	l.length++
	l.events += f.events
	l.bytes += len(f.frame)
}

// head returns the size of the first frame of a lane that has one.
func (l *lane) head() int { return len(l.first.frames[l.from].frame) }

func (l *lane) pop() {
	gone := &l.first.frames[l.from]
	l.length--
	l.events -= gone.events
	l.bytes -= len(gone.frame)
	*gone = queuedFrame{}
	if l.from++; l.from == l.first.used {
		l.drop()
	}
}

// drop gives the first chunk back, none of whose frames is left.
func (l *lane) drop() {
	empty := l.first
	l.first, l.from = empty.next, 0
	if l.first == nil {
		l.last = nil
	}
	empty.used, empty.next = 0, nil
	chunks.Put(empty)
}

// fitting returns how many of the first frames stay within both bounds: at least
// one.
func (l *lane) fitting(frames, bytes int) int {
	n, size := 0, 0
	for c, at := l.first, l.from; c != nil; c, at = c.next, 0 {
		for ; at < c.used; at++ {
			if n == frames || n > 0 && size >= bytes {
				return n
			}
			size += len(c.frames[at].frame)
			n++
		}
	}
	return n
}

// peek appends the first n frames to dst.
func (l *lane) peek(dst [][]byte, n int) [][]byte {
	for c, at := l.first, l.from; c != nil; c, at = c.next, 0 {
		for ; at < c.used; at++ {
			if n == 0 {
				return dst
			}
			dst = append(dst, c.frames[at].frame)
			n--
		}
	}
	return dst
}

// truncate keeps only the first n frames, and returns the first event of the others.
func (l *lane) truncate(n int) (first *Event) {
	kept := l.keep(n)
	for gone := 0; l.length > 0; gone++ {
		if head := l.first.frames[l.from]; gone >= n && first == nil {
			first = head.first
		}
		l.pop()
	}
	for _, f := range kept {
		l.push(f)
	}
	return first
}

func (l *lane) keep(n int) []queuedFrame {
	var kept []queuedFrame
	for c, at := l.first, l.from; c != nil; c, at = c.next, 0 {
		for ; at < c.used && len(kept) < n; at++ {
			kept = append(kept, c.frames[at])
		}
	}
	return kept
}
