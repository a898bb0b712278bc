package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/notifier/notifier"
)

// maxDRPName bounds the type, the action and the key of an event, in bytes: all
// that may be registered for holds them.
const maxDRPName = 1024

// postDRPEvent stores one event. The answer's content type is what the real
// client insists on, although there is no content.
func (s *Server) postDRPEvent(w http.ResponseWriter, r *http.Request) {
	e, release, err := s.readDRPEvent(w, r)
	defer release()
	if err != nil {
		refuseDRP(w, r, s.refusalTo(err))
		return
	}
	e.Principal = "user:" + requester(r)
	publication := notifier.Publication{Events: []notifier.Event{e}, Principal: requester(r)}
	if err := s.config.Store.Publish(r.Context(), publication); err != nil {
		refuseDRP(w, r, s.storeRefusal(r.Context(), "publish", err))
		return
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(http.StatusNoContent)
}

// readDRPEvent reads a body with one event. The event keeps the body's memory,
// which release gives back.
func (s *Server) readDRPEvent(w http.ResponseWriter, r *http.Request) (e notifier.Event, release func(), err error) {
	if kind := r.Header.Get("Content-Type"); !strings.Contains(kind, jsonType) {
		return e, func() {}, &refusal{http.StatusBadRequest, "Invalid content type: " + kind}
	}
	body, err := s.takeBody(w, r)
	if err != nil {
		return e, func() {}, err
	}
	text, err := io.ReadAll(body)
	if err == nil && len(bytes.TrimSpace(text)) > 0 { // nothing is an empty event
		err = checkJSON(text)
		if err == nil {
			e, err = parseDRPEvent(text)
		}
	}
	if err == nil {
		err = s.checkPayloads([]notifier.Event{e})
	}
	return e, body.release, err
}

// parseDRPEvent reads an event from valid JSON. Keys count in any case, as they
// do where the real server reads them; null is as good as nothing. Who caused
// the event is not for the client to say.
func parseDRPEvent(text []byte) (e notifier.Event, err error) {
	if kind := kindOf(text); kind != "an object" && kind != "null" {
		return e, badRequest("$: expected an event, but encountered %s", kind)
	}
	for key, value := range members(text) { // of a repeated key, the last counts
		switch name := strings.ToLower(key); name {
		case "time":
			e.CreatedAt, err = parseDRPTime(value)
		case "type":
			e.Type, err = parseDRPName(value)
		case "action":
			e.Action, err = parseDRPName(value)
		case "key":
			e.Key, err = parseDRPName(value)
		case "object":
			e.Payload = value
		case "original":
			e.Original = value
		}
		if err != nil {
			return e, badRequest("$.%s: %w", key, err)
		}
	}
	if e.Type == drpAnswer {
		return e, badRequest("$.Type: events of type %s are the server's own answers", drpAnswer)
	}
	return e, nil
}

func parseDRPName(value []byte) (string, error) {
	name, ok := parseString(value)
	switch {
	case !ok && kindOf(value) != "null":
		return "", wrongKind("a string", value)
	case len(name) > maxDRPName:
		return "", fmt.Errorf("longer than %d bytes", maxDRPName)
	}
	return name, nil
}

// parseDRPTime reads RFC 3339. Go's zero time, which the real client sends for a
// time that was left out, stands for now, as it does for the store.
func parseDRPTime(value []byte) (t time.Time, err error) {
	if kind := kindOf(value); kind != "a string" && kind != "null" {
		return t, wrongKind("a time", value)
	}
	if err := t.UnmarshalJSON(value); err != nil {
		return time.Time{}, fmt.Errorf("expected a time such as %s", time.RFC3339)
	}
	if t.IsZero() {
		return time.Time{}, nil
	}
	return t.UTC(), nil
}
