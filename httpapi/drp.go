package httpapi

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// drpAnswer is the type of the events that answer commands. The real client
// counts every event of it as the answer it waits for, so nothing else may be
// of it.
const drpAnswer = "websocket"

// drp is the protocol of Digital Rebar Provision's event stream: the client
// registers filters by their text, and each command is answered by one event.
type drp struct{}

// Joins is false: each event is a message.
func (drp) Joins() bool { return false }

// Encode returns the message of an event; none, if a client would take it for
// an answer.
func (drp) Encode(events []*notifier.Event) []byte {
	if events[0].Type == drpAnswer {
		return nil
	}
	return drpFrame(events[0], nil)
}

// drpCursors encodes for clients that want cursors.
type drpCursors struct{ signer *notifier.CursorSigner }

// Encode has the event carry its cursor.
func (c drpCursors) Encode(events []*notifier.Event) []byte {
	if events[0].Type == drpAnswer {
		return nil
	}
	return drpFrame(events[0], c.signer)
}

// Joins is as without cursors.
func (drpCursors) Joins() bool { return false }

func (drp) cursors(signer *notifier.CursorSigner) notifier.Encoder { return drpCursors{signer} }

func (drp) cursorFrame(cursor string) []byte { return drpAnswerFrame("cursor", cursor, nil) }

func (drp) gapFrame(cursor string) []byte {
	return drpAnswerFrame("cursor", cursor, []byte(`{"verdict":"gap"}`))
}

func drpAnswerFrame(action, key string, object []byte) []byte {
	return drpFrame(&notifier.Event{CreatedAt: time.Now(), Type: drpAnswer, Action: action, Key: key, Payload: object}, nil)
}

// drpFrame has all seven keys of the real server's events, in its order, and the
// cursor if there is a signer.
func drpFrame(e *notifier.Event, signer *notifier.CursorSigner) []byte {
	const keysAndTime = 128
	size := keysAndTime + len(e.Type) + len(e.Action) + len(e.Key) + len(e.Principal) + len(e.Payload) + len(e.Original)
	buffer := append(make([]byte, headerRoom, headerRoom+size), `{"Time":"`...)
	buffer = appendDRPTime(buffer, e.CreatedAt)
	buffer = appendString(append(buffer, `","Type":`...), e.Type)
	buffer = appendString(append(buffer, `,"Action":`...), e.Action)
	buffer = appendString(append(buffer, `,"Key":`...), e.Key)
	buffer = appendString(append(buffer, `,"Principal":`...), e.Principal)
	buffer = appendOrNull(append(buffer, `,"Object":`...), e.Payload)
	buffer = appendOrNull(append(buffer, `,"Original":`...), e.Original)
	if signer != nil {
		buffer = appendCursor(append(buffer, `,"Cursor":`...), signer, e)
	}
	return textFrame(append(buffer, '}'))
}

func appendOrNull(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, value...)
}

// appendDRPTime appends a time as RFC 3339 can write it, which knows the years
// 1 to 9999 only: an earlier or later one becomes the first or last of these.
func appendDRPTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	switch {
	case t.Year() < 1:
		t = time.Time{}
	case t.Year() > 9999:
		t = time.Date(9999, time.December, 31, 23, 59, 59, 999_999_999, time.UTC)
	}
	return t.AppendFormat(dst, time.RFC3339Nano)
}

// decode reads "register FILTER" or "deregister FILTER". What is neither is
// ignored without a word, as the real server does.
func (drp) decode(message []byte) (command, error) {
	verb, text, _ := strings.Cut(strings.TrimSpace(string(message)), " ")
	text = strings.Clone(strings.TrimSpace(text)) // kept by itself: the message may be mostly blanks
	if verb == "resume" && utf8.ValidString(text) {
		return command{action: resume, cursor: &text}, nil
	}
	if text == "" || !utf8.ValidString(text) {
		return command{}, nil
	}
	switch verb {
	case "register":
		cmd := command{action: subscribe, said: text}
		if filter, ok := parseDRPFilter(text); ok {
			cmd.wants = []want{{name: text, filter: func(string) notifier.Filter { return filter }}}
		}
		return cmd, nil
	case "deregister":
		return command{action: unsubscribe, said: text, wants: []want{{name: text}}}, nil
	}
	return command{}, nil
}

func (drp) name() string { return "drp" }

// binary is false: the real server ignores such messages.
func (drp) binary() bool { return false }

// reply acknowledges each command. Real clients wait for that without end, so
// a command that can't be carried out ends the connection.
func (drp) reply(cmd command, got result, err error) []byte {
	text, _ := cmd.said.(string)
	switch {
	case errors.Is(err, errBadCursor):
		return drpAnswerFrame("resume", *cmd.cursor, []byte(`{"error":"`+err.Error()+`"}`))
	case err != nil || cmd.action == nothing:
		return nil
	case cmd.action == resume:
		return drpAnswerFrame("resume", got.verdict.cursor, append(appendVerdict([]byte{'{'}, got.verdict), '}'))
	case cmd.action == unsubscribe:
		return drpAnswerFrame("deregister", text, nil)
	}
	return drpAnswerFrame("register", text, nil)
}

// ends is true, see reply, unless the answer says what is wrong.
func (drp) ends(err error) bool { return !errors.Is(err, errBadCursor) }

// once is false: a client registers and deregisters as it likes.
func (drp) once() bool { return false }

// lost has no words: events just cease.
func (drp) lost(error) []byte { return nil }
