package httpapi

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

const (
	// erniusType is the type of the events that come by push_events: the
	// protocol has no types, the log has.
	erniusType = "message"
	// maxAccessID bounds an access_id in bytes: it is an index key in
	// Postgres, which has a limit of its own beyond this.
	maxAccessID = 1024
)

// ernius is the protocol of ernius/notifier: the client announces itself once,
// then receives lists of events.
type ernius struct{}

// Encode returns a frame with a JSON list of the events, in the key order of
// the real server.
func (ernius) Encode(events []*notifier.Event) []byte { return erniusFrame(events, nil) }

// erniusFrame adds cursors if there is a signer.
func erniusFrame(events []*notifier.Event, signer *notifier.CursorSigner) []byte {
	size := headerRoom + len("[]")
	for _, e := range events {
		size += erniusSize(e)
	}
	buffer := append(make([]byte, headerRoom, size), '[')
	for i, e := range events {
		if i > 0 {
			buffer = append(buffer, ',')
		}
		buffer = appendErnius(buffer, e)
		if signer != nil {
			buffer = appendCursor(append(buffer, `,"cursor":`...), signer, e)
		}
		buffer = append(buffer, '}')
	}
	return textFrame(append(buffer, ']'))
}

// erniusCursors encodes for clients that want cursors.
type erniusCursors struct{ signer *notifier.CursorSigner }

// Encode has each event carry its cursor.
func (c erniusCursors) Encode(events []*notifier.Event) []byte { return erniusFrame(events, c.signer) }

// Joins is as without cursors.
func (erniusCursors) Joins() bool { return true }

func (ernius) cursors(signer *notifier.CursorSigner) notifier.Encoder { return erniusCursors{signer} }

func (ernius) cursorFrame(cursor string) []byte {
	return newText(string(sysadmObject("cursor", cursor)))
}

func (ernius) gapFrame(cursor string) []byte {
	return erniusVerdict(verdict{word: verdictGap, cursor: cursor})
}

func erniusVerdict(v verdict) []byte {
	text := appendVerdict([]byte{'{'}, v)
	text = appendString(append(text, `,"cursor":`...), v.cursor)
	return newText(string(append(text, '}')))
}

// Joins is true: an event is always an element of a list.
func (ernius) Joins() bool { return true }

// erniusSize is about how many bytes an event takes.
func erniusSize(e *notifier.Event) int {
	const keysAndTime = 64
	if e.Recipient == nil {
		return keysAndTime + len(e.Payload)
	}
	return keysAndTime + len(*e.Recipient) + len(e.Payload)
}

// appendErnius leaves the object open.
func appendErnius(dst []byte, e *notifier.Event) []byte {
	dst = append(dst, `{"accessid":`...)
	if e.Recipient == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, *e.Recipient)
	}
	dst = append(dst, `,"created_at":`...)
	dst = strconv.AppendInt(dst, e.CreatedAt.Unix(), 10) // rounds down, also before 1970
	dst = append(dst, `,"payload":`...)
	if e.Payload == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, e.Payload...)
	}
	return dst
}

// decode reads an announcement: whose events, and from what time on; and, as
// ours is a server with users, "auth", the token.
func (ernius) decode(message []byte) (command, error) {
	if !utf8.Valid(message) || !json.Valid(message) {
		return command{}, errNotUnderstood
	}
	cmd := command{action: subscribe, replay: true}
	var since int64
	var named, timed bool
	for key, value := range members(message) { // of a repeated key, the last counts
		switch key {
		case "access_id":
			cmd.user, named = parseString(value)
		case "timestamp":
			since, timed = parseInteger(value)
		case "auth":
			cmd.token, cmd.shown = parseString(value)
		case "cursor":
			cmd.cursor = parseCursorMember(value)
		}
	}
	if cmd.cursor != nil && !timed {
		since, timed, cmd.replay = math.MinInt64, true, false
	}
	if !named || !timed || checkAccessID(cmd.user) != nil {
		return cmd, errNotUnderstood
	}
	cmd.wants = []want{{filter: func(user string) notifier.Filter {
		return notifier.Filter{Recipient: &user, Since: sinceTime(since)}
	}}}
	return cmd, nil
}

func (ernius) name() string { return "ernius" }

// binary is true, as with the real server.
func (ernius) binary() bool { return true }

// once is true: after its announcement, a client has nothing more to say.
func (ernius) once() bool { return true }

// reply says nothing to an announcement that is good. The complaint about
// another is the real server's, to the letter.
func (ernius) reply(_ command, got result, err error) []byte {
	switch {
	case err == nil && got.verdict.word != "":
		return erniusVerdict(got.verdict)
	case errors.Is(err, errBadCursor):
		return newText("Not a cursor of this server")
	case err == nil, errors.Is(err, notifier.ErrGone), errors.Is(err, errUnavailable):
		return nil
	case errors.Is(err, errNotUnderstood):
		return newText("Wrong JSON announcement")
	}
	return newText("Not authorized: " + err.Error())
}

// ends is true: there is no second try.
func (ernius) ends(error) bool { return true }

// lost has no words: events just cease.
func (ernius) lost(error) []byte { return nil }

// checkAccessID refuses what Postgres could not store.
func checkAccessID(id string) error {
	switch {
	case len(id) > maxAccessID:
		return errors.New("longer than " + strconv.Itoa(maxAccessID) + " bytes")
	case strings.Contains(id, "\x00"):
		return errors.New("contains a NUL character")
	}
	return nil
}

// sinceTime translates an announced timestamp for a filter. One before all
// storable times wants everything, which is the zero time; one after them wants
// nothing that can be stored.
func sinceTime(seconds int64) time.Time {
	switch {
	case seconds <= notifier.MinTime.Unix():
		return time.Time{}
	case seconds > notifier.MaxTime.Unix():
		return notifier.MaxTime.Add(time.Hour)
	}
	since := time.Unix(seconds, 0).UTC()
	if since.IsZero() { // the first second of the year 1 would read as "any"
		since = since.Add(-time.Nanosecond)
	}
	return since
}
