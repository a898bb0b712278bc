package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// airlayNotification is the type whose events need no id: they are for a user.
const airlayNotification = "notification"

// maxAirlayID bounds a type and an id, in bytes.
const maxAirlayID = 1024

// airlay is the protocol of airlay's web front end: every message shows a token
// and attaches to one object, or detaches from it.
type airlay struct{}

// Joins is false: each event names its object.
func (airlay) Joins() bool { return false }

// Encode returns the message of an event. Its data is always an array: a payload
// that is none becomes the only element of one.
func (airlay) Encode(events []*notifier.Event) []byte { return airlayFrame(events[0], nil) }

// airlayFrame adds the cursor if there is a signer.
func airlayFrame(e *notifier.Event, signer *notifier.CursorSigner) []byte {
	buffer := make([]byte, headerRoom, headerRoom+64+len(e.Type)+len(e.Key)+len(e.Payload))
	buffer = append(buffer, `{"type":`...)
	buffer = appendString(buffer, e.Type)
	buffer = append(buffer, `,"id":`...)
	buffer = appendString(buffer, e.Key)
	buffer = append(buffer, `,"data":`...)
	switch payload := bytes.TrimSpace(e.Payload); {
	case len(payload) == 0 || string(payload) == "null":
		buffer = append(buffer, "[]"...)
	case payload[0] == '[':
		buffer = append(buffer, e.Payload...)
	default:
		buffer = append(buffer, '[')
		buffer = append(buffer, e.Payload...)
		buffer = append(buffer, ']')
	}
	if signer != nil {
		buffer = appendCursor(append(buffer, `,"cursor":`...), signer, e)
	}
	return textFrame(append(buffer, '}'))
}

// airlayCursors encodes for clients that want cursors.
type airlayCursors struct{ signer *notifier.CursorSigner }

// Encode has the event carry its cursor.
func (c airlayCursors) Encode(events []*notifier.Event) []byte {
	return airlayFrame(events[0], c.signer)
}

// Joins is as without cursors.
func (airlayCursors) Joins() bool { return false }

func (airlay) cursors(signer *notifier.CursorSigner) notifier.Encoder { return airlayCursors{signer} }

func (airlay) cursorFrame(cursor string) []byte { return airlayCursor(cursor, "") }

func (airlay) gapFrame(cursor string) []byte { return airlayCursor(cursor, `,"verdict":"gap"`) }

func airlayCursor(cursor, more string) []byte {
	text := appendString([]byte(`{"type":"cursor","id":`), cursor)
	return newText(string(text) + `,"data":[]` + more + "}")
}

// decode reads a request: {"auth":..,"action":..,"event":{"type":..,"id":..}}.
// Only what is no object at all can't be understood; everything else is told
// after the token was looked at, which is the order of the codes.
func (airlay) decode(message []byte) (command, error) {
	if !utf8.Valid(message) || !json.Valid(message) || kindOf(message) != "an object" {
		return command{}, errNotUnderstood
	}
	cmd := command{shown: true}
	var actionName string
	var event []byte
	for key, value := range members(message) { // of a repeated key, the last counts
		switch key {
		case "auth":
			cmd.token = airlayToken(value)
		case "action":
			actionName, _ = parseString(value)
		case "event":
			event = value
		case "cursor":
			cmd.cursor = parseCursorMember(value)
		}
	}
	switch actionName {
	case "attach":
		cmd.action = subscribe
	case "detach":
		cmd.action = unsubscribe
	default:
		cmd.fault = errNotUnderstood
	}
	eventType, id, err := airlayEvent(event)
	if err != nil {
		cmd.fault = err
	}
	if id != "" {
		cmd.about = &object{eventType, id}
	}
	cmd.wants = []want{{
		name:   eventType + "\x00" + id,
		filter: func(user string) notifier.Filter { return airlayFilter(user, eventType, id) },
	}}
	return cmd, nil
}

// airlayToken returns the token a request shows: nothing for null or "", and
// what can't be a token for anything that is no string.
func airlayToken(value []byte) string {
	token, ok := parseString(value)
	if !ok && string(value) != "null" {
		return string(value)
	}
	return token
}

// airlayEvent reads what the request is about. Only a notification needs no id.
func airlayEvent(value []byte) (eventType, id string, err error) {
	if kindOf(value) != "an object" {
		return "", "", errNotUnderstood
	}
	named, identified := false, true
	for key, value := range members(value) {
		switch key {
		case "type":
			eventType, named = parseString(value)
		case "id":
			if id, identified = parseString(value); string(value) == "null" {
				id, identified = "", true
			}
		}
	}
	switch {
	case !named, eventType == "", !identified,
		id == "" && eventType != airlayNotification,
		len(eventType) > maxAirlayID, len(id) > maxAirlayID,
		strings.ContainsRune(eventType, 0), strings.ContainsRune(id, 0):
		return "", "", errNotUnderstood
	}
	return eventType, id, nil
}

// airlayFilter wants one object; or, without an id, what is meant for the user
// and what is meant for nobody in particular.
func airlayFilter(user, eventType, id string) notifier.Filter {
	f := notifier.Filter{Types: []string{eventType}}
	if id == "" {
		f.Recipient, f.OrNobody = &user, true
	} else {
		f.Keys = []string{id}
	}
	return f
}

// airlayAnswer is one of the protocol's answers.
type airlayAnswer struct {
	status  int
	message string
	code    int
}

var (
	airlayOK          = airlayAnswer{200, "Ok", 0}
	airlayNoToken     = airlayAnswer{400, "Token not set", 1}
	airlayBadToken    = airlayAnswer{400, "Invalid token", 2}
	airlayNoUser      = airlayAnswer{400, "User not exists", 3}
	airlayNoAccess    = airlayAnswer{400, "Not access for dataset", 4}
	airlayBadRequest  = airlayAnswer{400, "Invalid request", 5}
	airlayUnavailable = airlayAnswer{} // the connection ends instead
)

func airlayAnswerTo(err error) airlayAnswer {
	switch {
	case err == nil:
		return airlayOK
	case errors.Is(err, errNoToken):
		return airlayNoToken
	case errors.Is(err, errBadToken), errors.Is(err, errExpired), errors.Is(err, errNotYou):
		return airlayBadToken
	case errors.Is(err, errNoUser):
		return airlayNoUser
	case errors.Is(err, errNoAccess), errors.Is(err, errRevoked):
		return airlayNoAccess
	case errors.Is(err, errUnavailable), errors.Is(err, notifier.ErrGone):
		return airlayUnavailable
	}
	return airlayBadRequest
}

// reply answers every request, in the order of the requests.
func (airlay) reply(_ command, got result, err error) []byte {
	return airlayAnswerTo(err).frameWith(got.verdict)
}

// lost has the same words as a request that is refused for the same reason.
func (airlay) lost(err error) []byte { return airlayAnswerTo(err).frame() }

func (airlay) name() string { return "airlay" }

// binary is true: what it holds is read all the same.
func (airlay) binary() bool { return true }

// once is false: a client attaches and detaches as it likes.
func (airlay) once() bool { return false }

// ends is never true: a reply is the only reaction the protocol knows.
func (airlay) ends(error) bool { return false }

func (a airlayAnswer) frame() []byte { return a.frameWith(verdict{}) }

func (a airlayAnswer) frameWith(v verdict) []byte {
	if a == airlayUnavailable {
		return nil
	}
	buffer := append(make([]byte, headerRoom, headerRoom+64), `{"status":`...)
	buffer = strconv.AppendInt(buffer, int64(a.status), 10)
	buffer = append(buffer, `,"message":`...)
	buffer = appendString(buffer, a.message)
	buffer = append(buffer, `,"code":`...)
	buffer = strconv.AppendInt(buffer, int64(a.code), 10)
	if v.word != "" {
		buffer = appendVerdict(append(buffer, ','), v)
		buffer = appendString(append(buffer, `,"cursor":`...), v.cursor)
	}
	return textFrame(append(buffer, '}'))
}
