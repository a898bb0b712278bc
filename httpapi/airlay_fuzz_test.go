package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// What a client sends may be anything. It is understood exactly if it is an
// object, and then asks for nothing that encoding/json would not read the same.
func FuzzAirlayDecode(f *testing.F) {
	for _, seed := range []string{
		`{"auth":"t","action":"attach","event":{"type":"issueUpdate","id":"610217e481f6fc54736209e0"}}`,
		`{"auth":"t","action":"detach","event":{"type":"notification","id":null}}`, `{"auth":null,"event":{"type":"notification"},"action":"attach"}`,
		`{"auth":"a","auth":"b","action":"attach","event":{"type":"a","type":"b","id":"1"}}`, ` {"event" : {"id":"\u0000","type":"\ud800"}} `,
		`[]`, `null`, ``, `{`, `{"auth":{}}`, "{\"auth\":\"\xff\"}", `{"event":{"type":"x","id":"` + strings.Repeat("x", maxAirlayID+1) + `"},"action":"attach"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		cmd, err := airlay{}.decode(message)
		var object map[string]json.RawMessage
		understood := utf8.Valid(message) && json.Unmarshal(message, &object) == nil && object != nil
		if (err == nil) != understood {
			t.Fatalf("understood %v, but it is an object: %t", err == nil, understood)
		}
		if err != nil {
			return
		}
		if !cmd.shown {
			t.Error("a request always has a place for a token")
		}
		var auth any
		if raw, ok := object["auth"]; ok {
			if err := json.Unmarshal(raw, &auth); err != nil {
				t.Fatal(err)
			}
		}
		text, isText := auth.(string)
		if isText && cmd.token != text {
			t.Errorf("the token is %q, not %q", cmd.token, text)
		}
		if none := auth == nil || text == "" && isText; none != (cmd.token == "") {
			t.Errorf("the token is %q of %v", cmd.token, auth)
		}
		checkAirlayCommand(t, cmd, object)
	})
}

func checkAirlayCommand(t *testing.T, cmd command, object map[string]json.RawMessage) {
	t.Helper()
	if cmd.fault != nil {
		return
	}
	var event struct{ Type, ID *string }
	var named map[string]json.RawMessage
	if err := json.Unmarshal(object["event"], &named); err != nil {
		t.Fatalf("an event that is no object has no fault: %s", object["event"])
	}
	for key, to := range map[string]**string{"type": &event.Type, "id": &event.ID} {
		if raw, ok := named[key]; ok && json.Unmarshal(raw, to) != nil {
			t.Fatalf("%s is %s, and has no fault", key, raw)
		}
	}
	id := ""
	if event.ID != nil {
		id = *event.ID
	}
	if event.Type == nil || *event.Type == "" || id == "" && *event.Type != airlayNotification {
		t.Fatalf("type %v and id %q have no fault", event.Type, id)
	}
	if action := cmd.action; action != subscribe && action != unsubscribe {
		t.Errorf("there is nothing to do and no fault")
	}
	filter := cmd.wants[0].filter("u")
	matching := notifier.Event{Type: *event.Type, Key: id}
	if !filter.Matches(&matching) {
		t.Errorf("the filter %+v does not want %+v", filter, matching)
	}
	other := notifier.Event{Type: *event.Type + "x", Key: id}
	if filter.Matches(&other) {
		t.Errorf("the filter %+v wants another type", filter)
	}
}

// Whatever an event is, its message is JSON of three keys, if its payload is
// JSON.
func FuzzAirlayEncode(f *testing.F) {
	for _, payload := range []string{``, `null`, ` null `, `[]`, `[1]`, `{}`, `"x"`, `0`, " [ ] ", `{"a":[1,2]}`} {
		f.Add("issueUpdate", "1", []byte(payload))
	}
	f.Fuzz(func(t *testing.T, eventType, key string, payload []byte) {
		if len(payload) > 0 && !json.Valid(payload) || !utf8.Valid(payload) || !utf8.ValidString(eventType) || !utf8.ValidString(key) {
			t.Skip() // the database takes no such
		}
		frame := airlay{}.Encode([]*notifier.Event{{Type: eventType, Key: key, Payload: payload}})
		size := 2
		switch frame[1] {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		var said struct {
			Type, ID *string
			Data     []json.RawMessage
		}
		decoder := json.NewDecoder(strings.NewReader(string(frame[size:])))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&said); err != nil || decoder.More() {
			t.Fatalf("%s: %v", frame[size:], err)
		}
		if *said.Type != eventType || *said.ID != key || said.Data == nil {
			t.Errorf("%q and %q became %s", eventType, key, frame[size:])
		}
	})
}
