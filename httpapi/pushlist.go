package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/notifier/notifier"
)

// parsePush reads a list of events as it arrives.
func parsePush(body io.Reader, maxList int) (notifier.Publication, error) {
	decoder := json.NewDecoder(body)
	decoder.UseNumber() // 1e999 is a number too
	if err := expectList(decoder); err != nil {
		return notifier.Publication{}, err
	}
	var p notifier.Publication
	var element json.RawMessage
	for decoder.More() {
		if len(p.Events) == maxList {
			return p, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the list has more than %d events", maxList)}
		}
		if err := decoder.Decode(&element); err != nil {
			return p, err
		}
		e, key, err := parseEvent(element, len(p.Events))
		if err != nil {
			return p, err
		}
		p.Events = append(p.Events, e)
		addKey(&p, key)
	}
	return p, endOfList(decoder)
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

func expectList(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return badRequest("$: expected a list of events, but encountered %s", kindOfToken(token))
	}
	return nil
}

func kindOfToken(token json.Token) string {
	switch token.(type) {
	case json.Delim:
		return "an object"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case nil:
		return "null"
	default:
		return "a number"
	}
}

// endOfList checks that the list is closed and nothing follows it.
func endOfList(decoder *json.Decoder) error {
	if _, err := decoder.Token(); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = badRequest("$: something follows the list")
		}
		return err
	}
	return nil
}

// parseEvent reads the nth event of a list, which is valid JSON. What it
// returns shares no memory with the text.
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
	e.Payload = bytes.Clone(payload)
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
	return time.Unix(seconds, 0).UTC(), nil
}

func parseEventKey(value []byte) (string, error) {
	key, ok := parseString(value)
	if !ok {
		return "", wrongKind("a string", value)
	}
	return key, checkIdempotencyKey(key)
}
