package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"example.com/notifier/httpapi/client"
)

func TestPrinter_JSONLinesKeepThePayload(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	e := client.Event{AccessID: "a<b", CreatedAt: -5, Payload: json.RawMessage("{\n \"x\": \"<é>\", \"n\": 1.0}")}
	if err := jsonLine(&b, e); err != nil {
		t.Fatal(err)
	}
	if want := `{"accessid":"a<b","created_at":-5,"payload":{"x":"<é>","n":1.0}}` + "\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestPrinter_ReadableLineSendsTheTerminalNoCommands(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	e := client.Event{AccessID: "a\x1b[2Jb", CreatedAt: 1000, Payload: json.RawMessage("\"x\u009b31m\u202e\n\x7f\"")}
	if err := readableLine(&b, e); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat(" ", 15) + `1000  a\u001b[2Jb  "x\u009b31m\u202e \u007f"` + "\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestParseSince(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"2000": 2000, "-3": -3, "1970-01-01T01:00:00+01:00": 0} {
		since, err := parseSince(text)
		if err != nil || since() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseSince("yesterday"); err == nil {
		t.Error("accepted yesterday")
	}
}
