package httpapi

import (
	"errors"
	"io"
	"sync/atomic"
	"unicode/utf8"
)

var (
	errNotUTF8 = errors.New("the body is not valid UTF-8")
	errBusy    = errors.New("too much is being pushed at once")
)

// utf8Reader fails at the first byte that is not UTF-8, where encoding/json
// would put a replacement character without a word.
type utf8Reader struct {
	source io.Reader
	rest   [utf8.UTFMax]byte // of a character cut off by the end of the last read
	kept   int
}

// Read reads from the source.
func (r *utf8Reader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if !r.check(p[:n]) || errors.Is(err, io.EOF) && r.kept > 0 {
		return 0, errNotUTF8
	}
	return n, err
}

func (r *utf8Reader) check(p []byte) bool {
	for r.kept > 0 && len(p) > 0 { // complete the character that was cut off
		r.rest[r.kept] = p[0]
		r.kept++
		p = p[1:]
		if whole := r.rest[:r.kept]; utf8.FullRune(whole) {
			if !utf8.Valid(whole) {
				return false
			}
			r.kept = 0
		}
	}
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if utf8.RuneStart(p[len(p)-back]) {
			if !utf8.FullRune(p[len(p)-back:]) {
				end -= back
			}
			break
		}
	}
	if r.kept == 0 {
		r.kept = copy(r.rest[:], p[end:])
	}
	return utf8.Valid(p[:end])
}

// budget is a number of bytes that may be in use at once.
type budget struct{ free *atomic.Int64 }

func newBudget(bytes int64) budget {
	b := budget{new(atomic.Int64)}
	b.free.Store(bytes)
	return b
}

// budgetReader takes what it reads from a budget, until release.
type budgetReader struct {
	source io.Reader
	budget budget
	taken  int64
}

// Read reads from the source, or fails with errBusy.
func (r *budgetReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.taken += int64(n)
	if r.budget.free.Add(-int64(n)) < 0 {
		return 0, errBusy
	}
	return n, err
}

// release gives back all that was taken.
func (r *budgetReader) release() { r.budget.free.Add(r.taken) }
