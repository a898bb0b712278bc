package httpapi

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// What a client sends may be anything. Whatever comes of it, the answer is one
// frame of JSON with the keys of the envelope, and gives the id back.
func FuzzSysadmDecode(f *testing.F) {
	for _, seed := range []string{
		`{"namespace":"events","name":"subscribe","id":"sampleID","args":["dispatcher","life-preserver"]}`,
		`{"args":"system-state","id":"sysadm-client-event-auto","name":"unsubscribe","namespace":"EVENTS"}`,
		`{"namespace":"rpc","name":"auth","id":"a","args":{"username":"u","password":"p"}}`, `{"namespace":"rpc","name":"auth_token","id":7,"args":{"token":"t"}}`,
		`{"namespace":"rpc","name":"auth_clear"}`, `{"namespace":"rpc","name":"auth_ssl","args":{"encrypted_string":"x"}}`, `{"namespace":"rpc","name":"query","args":""}`,
		`{"namespace":"rpc","name":"identify","id":"\ud800\u0000"}`, `{"namespace":"x","name":"y"}`, `{"id":"a","id":null}`, `{"name":"","namespace":""}`,
		`[]`, `null`, ``, `{`, "{\"id\":\"\xff\"}", `{"namespace":"events","name":"subscribe","args":["*","",null,"` + strings.Repeat("x", maxSysadmType+1) + `"]}`,
	} {
		f.Add([]byte(seed))
	}
	codec := newSysadm(Config{SysadmTypes: []string{"*"}, SysadmLatest: []string{"system-state"}})
	f.Fuzz(func(t *testing.T, message []byte) {
		cmd, err := codec.decode(message)
		var object map[string]json.RawMessage
		isObject := utf8.Valid(message) && json.Unmarshal(message, &object) == nil && object != nil
		if err == nil && !isObject {
			t.Fatal("what is no object is understood")
		}
		id := textOf(object["id"])
		if err == nil && (textOf(object["name"]) == "" || textOf(object["namespace"]) == "") {
			t.Error("a request without a name is understood")
		}
		checkSysadmWants(t, cmd)
		for _, failure := range []error{nil, err, cmd.fault, errBadToken, errThrottled, errUnknown} {
			if failure == nil && err != nil {
				continue // it can't go well
			}
			frame := codec.reply(cmd, result{token: "t"}, failure)
			if frame == nil {
				if failure != nil || cmd.action != logOut {
					t.Errorf("no answer to %v", failure)
				}
				continue
			}
			checkSysadmAnswer(t, frame, id, object, failure)
		}
	})
}

// textOf returns a JSON string's value, "" for anything else.
func textOf(raw json.RawMessage) (text string) {
	if json.Unmarshal(raw, &text) != nil {
		return ""
	}
	return text
}

func checkSysadmWants(t *testing.T, cmd command) {
	t.Helper()
	seen := map[string]bool{}
	for _, w := range cmd.wants {
		filter := w.filter("u")
		if !slices.Equal(filter.Types, []string{w.name}) || w.name == "" || len(w.name) > maxSysadmType || strings.Contains(w.name, "\x00") {
			t.Errorf("%q wants %q", w.name, filter.Types)
		}
		if seen[w.name] || w.latest != (w.name == sysadmSystemState) {
			t.Errorf("%q is wanted %t before, newest %t", w.name, seen[w.name], w.latest)
		}
		seen[w.name] = true
	}
	if len(cmd.wants) > 0 && cmd.action != subscribe && cmd.action != unsubscribe {
		t.Errorf("action %d wants %d", cmd.action, len(cmd.wants))
	}
}

func checkSysadmAnswer(t *testing.T, frame []byte, id string, request map[string]json.RawMessage, failure error) {
	t.Helper()
	var answer struct {
		Args                json.RawMessage
		ID, Name, Namespace *string
	}
	if err := json.Unmarshal(payloadOf(frame), &answer); err != nil || answer.ID == nil || answer.Name == nil || answer.Namespace == nil || answer.Args == nil {
		t.Fatalf("%s: %v", payloadOf(frame), err)
	}
	name, namespace := "response", textOf(request["namespace"])
	switch {
	case failure != nil:
		name, namespace = "error", "error"
	case id == "":
		name = textOf(request["name"])
	}
	if *answer.ID != id || *answer.Name != name || *answer.Namespace != namespace {
		t.Errorf("the answer to %v is %s", failure, payloadOf(frame))
	}
	if errors.Is(failure, errThrottled) && !strings.Contains(string(answer.Args), `"403"`) {
		t.Errorf("args %s", answer.Args)
	}
}

// payloadOf takes the header off a frame.
func payloadOf(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4:]
	case 127:
		return frame[10:]
	}
	return frame[2:]
}

// Whatever an event is, its message is JSON of four keys, and its payload is as
// it was, if that is JSON.
func FuzzSysadmEncode(f *testing.F) {
	for _, payload := range []string{``, `null`, ` null `, `[]`, `{}`, `"x"`, "0\n", " [ ] ", `{"a":[1,2]}`} {
		f.Add("system-state", []byte(payload))
	}
	f.Fuzz(func(t *testing.T, eventType string, payload []byte) {
		if len(payload) > 0 && !json.Valid(payload) || !utf8.Valid(payload) || !utf8.ValidString(eventType) {
			t.Skip() // the database takes no such
		}
		frame := (&sysadm{}).Encode([]*notifier.Event{{Type: eventType, Payload: payload}})
		var said struct {
			Args                json.RawMessage
			ID, Name, Namespace *string
		}
		decoder := json.NewDecoder(strings.NewReader(string(payloadOf(frame))))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&said); err != nil || decoder.More() {
			t.Fatalf("%s: %v", payloadOf(frame), err)
		}
		want := strings.TrimSpace(string(payload))
		if want == "" || want == "null" {
			want = "{}"
		}
		if *said.Name != eventType || *said.ID != "" || *said.Namespace != "events" || strings.TrimSpace(string(said.Args)) != want {
			t.Errorf("%q of %q became %s", payload, eventType, payloadOf(frame))
		}
	})
}
