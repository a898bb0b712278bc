package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"example.com/notifier/notifier"
)

// refusal is an error that the client is told, with the status it is told by.
type refusal struct {
	status int
	text   string
}

// Error returns the line that the client is told.
func (r *refusal) Error() string { return r.text }

func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "Error in " + fmt.Errorf(format, args...).Error()}
}

// decline tells a client why its request can't be taken.
func (s *Server) decline(w http.ResponseWriter, err error) {
	told := s.refusalTo(err)
	refuse(w, told.status, told.text)
}

// refusalTo returns what a client is told whose request can't be taken.
func (s *Server) refusalTo(err error) *refusal {
	s.refusals.noteError(err)
	var told *refusal
	if !errors.As(err, &told) {
		told = refusalOf(err)
	}
	s.config.Logger.Debug("request declined", "status", told.status, "reason", err)
	return told
}

// refusalOf translates what can go wrong in reading a body.
func refusalOf(err error) *refusal {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &refusal{http.StatusBadRequest, fmt.Sprintf("Error in $: %v (at byte %d)", syntax, syntax.Offset)}
	}
	switch {
	case errors.Is(err, errBusy):
		return &refusal{http.StatusServiceUnavailable, "too much is being pushed at once; nothing was stored, try again"}
	case errors.Is(err, errNotUTF8):
		return &refusal{http.StatusBadRequest, "Error in $: the text is not valid UTF-8"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{http.StatusRequestTimeout, "the body took too long to arrive; nothing was stored"}
	default:
		return &refusal{http.StatusBadRequest, "the body could not be read; nothing was stored"}
	}
}

// declineStore tells a client that the store did not take what it asked for.
func (s *Server) declineStore(ctx context.Context, w http.ResponseWriter, doing string, err error) {
	told := s.storeRefusal(ctx, doing, err)
	refuse(w, told.status, told.text)
}

// storeRefusal returns what a client is told of a store that fails.
func (s *Server) storeRefusal(ctx context.Context, doing string, err error) *refusal {
	if errors.Is(err, notifier.ErrUnstorable) {
		s.config.Logger.Debug("request declined", "doing", doing, "reason", err)
		return &refusal{http.StatusBadRequest, "Error in $: it holds what can't be stored, such as a NUL character; nothing was stored"}
	}
	if ctx.Err() == nil {
		s.config.Logger.Error("store failed", "doing", doing, "error", err)
	}
	if errors.Is(err, notifier.ErrOutcomeUnknown) {
		return &refusal{http.StatusServiceUnavailable, "the connection to the event store broke: it is not known whether all was stored or nothing; " +
			"only with an Idempotency-Key is it safe to try again"}
	}
	return &refusal{http.StatusServiceUnavailable, "the event store can't take it now; nothing was stored, try again"}
}
