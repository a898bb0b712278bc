package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"unicode/utf8"
)

var (
	errNotUTF8 = errors.New("the body is not valid UTF-8")
	errBusy    = errors.New("too much is being pushed at once")
)

// readJSON returns a body, which is one valid JSON document.
//
// It is read whole, and what comes of it keeps its memory: json.Decoder would
// need as much for its own buffer, and its time is quadratic in blanks between
// tokens (14 s for 16 MiB of them: seen). Nor would it say a word of invalid
// UTF-8.
func readJSON(source io.Reader) ([]byte, error) {
	body, err := io.ReadAll(source)
	if err == nil {
		err = checkJSON(body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

func checkJSON(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return errNotUTF8
	case !json.Valid(body):
		return json.Unmarshal(body, new(any)) // says where
	}
	return nil
}

// takeBody begins to take the body of a push, within the limits. Unless it
// fails, its release must be called when nothing of the body is in use.
func (s *Server) takeBody(w http.ResponseWriter, r *http.Request) (*budgetReader, error) {
	if r.ContentLength > s.config.MaxBody {
		return nil, &http.MaxBytesError{Limit: s.config.MaxBody}
	}
	return &budgetReader{source: http.MaxBytesReader(w, r.Body, s.config.MaxBody), budget: s.pushing}, nil
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
