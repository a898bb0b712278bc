package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// drpSaid is an event as a client reads it.
type drpSaid struct {
	Time                         time.Time
	Type, Action, Key, Principal string
	Object, Original             json.RawMessage
}

// drpMessage reads a frame, which must be one of text.
func drpMessage(t *testing.T, frame []byte) (said drpSaid) {
	t.Helper()
	size := 2
	switch frame[1] {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	decoder := json.NewDecoder(strings.NewReader(string(frame[size:])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&said); err != nil || decoder.More() || frame[0] != frameText {
		t.Fatalf("%q: %v", frame, err)
	}
	return said
}

// Whatever an event is, its message is JSON of seven keys, if its payload is
// JSON.
func FuzzDRPEncode(f *testing.F) {
	f.Add("machines", "save", "1", "user:x", []byte(`{}`), []byte(``), int64(0))
	f.Add("a\x00", `"\`, "\u2028", "<&>", []byte(` null `), []byte(`[1]`), int64(-1<<40))
	f.Add("websocket", "register", "*.*.*", "", []byte(`1`), []byte(`1`), int64(1<<42))
	f.Fuzz(func(t *testing.T, eventType, action, key, principal string, object, original []byte, seconds int64) {
		for _, value := range [][]byte{object, original} {
			if len(value) > 0 && !json.Valid(value) || !utf8.Valid(value) {
				t.Skip() // the database takes no such
			}
		}
		if !utf8.ValidString(eventType + "|" + action + "|" + key + "|" + principal) {
			t.Skip()
		}
		at := time.Unix(min(max(seconds, notifier.MinTime.Unix()), notifier.MaxTime.Unix()), 999_999_000)
		e := notifier.Event{CreatedAt: at, Type: eventType, Action: action, Key: key, Principal: principal, Payload: object, Original: original}
		frame := drp{}.Encode([]*notifier.Event{&e})
		if eventType == "websocket" {
			if frame != nil {
				t.Fatal("it would be taken for an answer")
			}
			return
		}
		said := drpMessage(t, frame)
		if said.Type != eventType || said.Action != action || said.Key != key || said.Principal != principal {
			t.Errorf("%+v became %+v", e, said)
		}
		if year := at.UTC().Year(); year >= 1 && year <= 9999 && !said.Time.Equal(at) {
			t.Errorf("%v became %v", at, said.Time)
		}
	})
}

// A posted event is what encoding/json would read, or is refused.
func FuzzDRPEvent(f *testing.F) {
	for _, seed := range []string{
		`{"Time":"0001-01-01T00:00:00Z","Type":"a","Action":"b","Key":"c","Principal":"x","Object":{"a":1},"Original":null}`, `{}`, `null`, `[]`, `""`,
		`{"time":"2026-01-02T03:04:05.123+01:00","TYPE":"x","object":1,"Object":2}`, `{"Type":null,"Time":null}`, `{"Type":1}`, `{"Time":"x"}`, `{"Type":"websocket"}`, `{"Kind":"ü","\u212aey":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkJSON(text) != nil {
			t.Skip()
		}
		e, err := parseDRPEvent(text)
		var want drpSaid
		if bad := json.Unmarshal(text, &want); bad != nil && err == nil {
			t.Fatalf("%s was taken, though %v", text, bad)
		}
		if err != nil {
			return
		}
		if e.Type != want.Type || e.Action != want.Action || e.Key != want.Key || e.Principal != "" || !e.CreatedAt.Equal(want.Time) {
			t.Errorf("%s became %+v", text, e)
		}
		for _, pair := range [][2]json.RawMessage{{e.Payload, want.Object}, {e.Original, want.Original}} {
			if strings.TrimSpace(string(pair[0])) != strings.TrimSpace(string(pair[1])) {
				t.Errorf("%s became %s", pair[1], pair[0])
			}
		}
	})
}
