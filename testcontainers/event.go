package testcontainers

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is an event as a client got it, whatever the protocol. Fields that the
// protocol does not carry are empty.
type Event struct {
	Type, Action, Key string
	// Recipient is whom it is addressed to.
	Recipient string
	DatasetID string
	Principal string
	// CreatedAt is in whole seconds in ernius's protocol.
	CreatedAt time.Time
	// Payload is as it came. Airlay makes any value but an array an array of one, and no
	// payload an empty one; sysadm makes no payload an empty object.
	Payload  json.RawMessage
	Original json.RawMessage
	// Cursor is where a client that has had this event resumes.
	Cursor string

	// carries is what of these the protocol carries.
	carries fields
}

// fields is a set of an event's fields.
type fields uint8

const (
	hasType fields = 1 << iota
	hasAction
	hasKey
	hasRecipient
	hasDataset
	hasPrincipal
	hasOriginal
	// wrapsPayload: any payload but an array comes as an array of one.
	wrapsPayload
)

func (f fields) has(some fields) bool { return f&some == some }

// String is what tells a person which event it is.
func (e Event) String() string {
	parts := []string{e.Type, e.Action, e.Key}
	for _, field := range []struct{ name, value string }{{"for", e.Recipient}, {"dataset", e.DatasetID}, {"by", e.Principal}} {
		if field.value != "" {
			parts = append(parts, field.name+" "+field.value)
		}
	}
	return line(append(parts, abridged(e.Payload)))
}

// line joins what is not empty.
func line(parts []string) string {
	var given []string
	for _, part := range parts {
		if part != "" {
			given = append(given, part)
		}
	}
	return strings.Join(given, " ")
}

// abridged keeps a message readable.
func abridged(payload []byte) string {
	const most = 200
	if len(payload) > most {
		return fmt.Sprintf("%s... (%d bytes)", payload[:most], len(payload))
	}
	return string(payload)
}

// Want says what an event must be. Empty fields, and those that the protocol does not
// carry, are not looked at.
type Want struct {
	Type, Action, Key string
	Recipient         string
	DatasetID         string
	Principal         string
	Payload, Original Matcher // nil: any
}

// String is what tells a person which event is meant.
func (w Want) String() string {
	e := Event{Type: w.Type, Action: w.Action, Key: w.Key, Recipient: w.Recipient, DatasetID: w.DatasetID, Principal: w.Principal}
	parts := []string{e.String()}
	if w.Payload != nil {
		parts = append(parts, w.Payload.String())
	}
	if w.Original != nil {
		parts = append(parts, "original", w.Original.String())
	}
	if text := line(parts); text != "" {
		return text
	}
	return "any event"
}

// concerns says whether the event is of the object that is meant, as far as is known.
func (w Want) concerns(e Event) bool {
	return same(e, hasType, w.Type, e.Type) && same(e, hasKey, w.Key, e.Key)
}

func same(e Event, field fields, want, got string) bool {
	return want == "" || !e.carries.has(field) || want == got
}

// differs says in what an event is not what is wanted; "": in nothing.
func (w Want) differs(e Event) string {
	var lines []string
	for _, f := range []struct {
		name      string
		field     fields
		want, got string
	}{
		{"type", hasType, w.Type, e.Type},
		{"action", hasAction, w.Action, e.Action},
		{"key", hasKey, w.Key, e.Key},
		{"recipient", hasRecipient, w.Recipient, e.Recipient},
		{"dataset", hasDataset, w.DatasetID, e.DatasetID},
		{"principal", hasPrincipal, w.Principal, e.Principal},
	} {
		if !same(e, f.field, f.want, f.got) {
			lines = append(lines, fmt.Sprintf("%s: want %q, got %q", f.name, f.want, f.got))
		}
	}
	if w.Payload != nil {
		if text := w.payloadDiffers(e); text != "" {
			lines = append(lines, "payload: "+text)
		}
	}
	if w.Original != nil && e.carries.has(hasOriginal) {
		if text := w.Original.Differs(e.Original); text != "" {
			lines = append(lines, "original: "+text)
		}
	}
	return strings.Join(lines, "\n")
}

// payloadDiffers takes an array of one for its element, too, where the protocol
// makes no difference.
func (w Want) payloadDiffers(e Event) string {
	text := w.Payload.Differs(e.Payload)
	if text == "" || !e.carries.has(wrapsPayload) {
		return text
	}
	var elements []json.RawMessage
	if json.Unmarshal(e.Payload, &elements) == nil && len(elements) == 1 {
		return w.Payload.Differs(elements[0])
	}
	return text
}
