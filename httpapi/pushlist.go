package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/notifier/notifier"
)

// parsePush reads a list of events from a JSON document. The events keep the
// document's memory.
func parsePush(body []byte, maxList int) (p notifier.Publication, err error) {
	if kind := kindOf(body); kind != "a list" {
		return p, badRequest("$: expected a list of events, but encountered %s", kind)
	}
	n := 0
	for range elements(body) {
		n++
	}
	if n > maxList {
		return p, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the list has %d events, the most is %d", n, maxList)}
	}
	p.Events = make([]notifier.Event, 0, n)
	for element := range elements(body) {
		e, key, err := parseEvent(element, len(p.Events))
		if err != nil {
			return p, err
		}
		p.Events = append(p.Events, e)
		addKey(&p, key)
	}
	return p, nil
}

// addKey notes the key of the event that was added last. Most lists have none,
// and need no space for them.
func addKey(p *notifier.Publication, key string) {
	if key != "" && p.EventKeys == nil {
		p.EventKeys = make([]string, len(p.Events)-1, cap(p.Events))
	}
	if p.EventKeys != nil {
		p.EventKeys = append(p.EventKeys, key)
	}
}

// parseEvent reads the nth event of a list, which is valid JSON.
func parseEvent(text []byte, n int) (e notifier.Event, key string, err error) {
	if kind := kindOf(text); kind != "an object" {
		return e, "", badRequest("$[%d]: expected an event, but encountered %s", n, kind)
	}
	var accessID, createdAt, payload, eventKey []byte
	for name, value := range members(text) { // of a repeated key, the last counts
		switch name {
		case "accessid":
			accessID = value
		case "created_at":
			createdAt = value
		case "payload":
			payload = value
		case "idempotency_key":
			eventKey = value
		}
	}
	e.Type = erniusType
	if e.Recipient, err = parseRecipient(accessID); err != nil {
		return e, "", badRequest("$[%d].accessid: %w", n, err)
	}
	if e.CreatedAt, err = parseCreatedAt(createdAt); err != nil {
		return e, "", badRequest("$[%d].created_at: %w", n, err)
	}
	if payload == nil {
		return e, "", badRequest("$[%d].payload: %w", n, errMissing)
	}
	e.Payload = payload
	if eventKey != nil {
		if key, err = parseEventKey(eventKey); err != nil {
			return e, "", badRequest("$[%d].idempotency_key: %w", n, err)
		}
	}
	return e, key, nil
}

var errMissing = errors.New("key not found")

// wrongKind says what stands in the place of a value.
func wrongKind(want string, value []byte) error {
	if value == nil {
		return errMissing
	}
	return fmt.Errorf("expected %s, but encountered %s", want, kindOf(value))
}

func parseRecipient(value []byte) (*string, error) {
	id, ok := parseString(value)
	if !ok {
		return nil, wrongKind("a string", value)
	}
	return &id, checkAccessID(id)
}

// parseCreatedAt reads whole seconds, as far as Postgres' timestamptz reaches.
func parseCreatedAt(value []byte) (time.Time, error) {
	seconds, ok := parseInteger(value)
	switch {
	case !ok && kindOf(value) == "a number":
		return time.Time{}, errors.New("expected an integer of 64 bits")
	case !ok:
		return time.Time{}, wrongKind("an integer", value)
	case seconds < notifier.MinTime.Unix() || seconds > notifier.MaxTime.Unix():
		return time.Time{}, fmt.Errorf("%d seconds are not between %d and %d, the times that can be stored",
			seconds, notifier.MinTime.Unix(), notifier.MaxTime.Unix())
	}
	created := time.Unix(seconds, 0).UTC()
	if created.IsZero() { // the first second of the year 1 would read as "not said"
		created = created.Add(time.Nanosecond) // below what Postgres keeps
	}
	return created, nil
}

func parseEventKey(value []byte) (string, error) {
	key, ok := parseString(value)
	if !ok {
		return "", wrongKind("a string", value)
	}
	return key, checkIdempotencyKey(key)
}
