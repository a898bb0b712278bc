package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// collect reads all lists, and returns the error that ended them.
func collect(t *testing.T, input io.Reader) ([]list, error) {
	t.Helper()
	var lists []list
	for l := range readLists(t.Context(), input) {
		if l.err != nil {
			return lists, l.err
		}
		lists = append(lists, l)
	}
	return lists, nil
}

func TestReadLists_BoundedAndVerbatim(t *testing.T) {
	t.Parallel()
	var input bytes.Buffer
	var want strings.Builder
	for i := range 2500 {
		line := fmt.Sprintf(`{"accessid": "u", "created_at": %d, "payload": {"a" : "<é>"}}`, i)
		input.WriteString(line + "\r\n\n")
		want.WriteString(line)
	}
	lists, err := collect(t, &input)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	line := 0
	for _, l := range lists {
		if len(l.events) > listEvents {
			t.Errorf("a list of %d", len(l.events))
		}
		if l.first != line+1 {
			t.Errorf("a list from line %d after one to line %d", l.first, line)
		}
		line = l.last
		for _, e := range l.events {
			got.Write(e)
		}
	}
	if got.String() != want.String() {
		t.Error("the events are not the lines")
	}
	if line != 5000 {
		t.Errorf("the last line is %d, want 5000", line)
	}
}

// TestReadLists_LiveInputGoesOnAtOnce: what a pipe brings is not kept until a
// list is full.
func TestReadLists_LiveInputGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	lists := readLists(t.Context(), r)
	for i := range 3 {
		if _, err := io.WriteString(w, `{"accessid":"u","created_at":1,"payload":1}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if l := <-lists; len(l.events) != 1 || l.first != i+1 {
			t.Fatalf("list %+v", l)
		}
	}
	w.Close()
	if l, more := <-lists; more {
		t.Fatalf("list %+v after the end", l)
	}
}

func TestReadLists_BadLineIsNamed(t *testing.T) {
	t.Parallel()
	good := `{"accessid":"u","created_at":1e3,"payload":null}` + "\n"
	for name, test := range map[string]struct{ line, want string }{
		"no JSON":       {"hello", "line 3: not an event: "},
		"array":         {"[]", "line 3: not an event: "},
		"lacks two":     {`{"payload":1}`, "line 3: not an event: it lacks accessid, created_at"},
		"no integer":    {`{"accessid":"u","created_at":1.5,"payload":1}`, "line 3: not an event: created_at is no 64-bit integer"},
		"text":          {`{"accessid":"u","created_at":"1","payload":1}`, "line 3: not an event: created_at is no 64-bit integer"},
		"too large":     {`{"accessid":"u","created_at":9223372036854775808,"payload":1}`, "created_at is no 64-bit integer"},
		"huge exponent": {`{"accessid":"u","created_at":1e999999999,"payload":1}`, "created_at is no 64-bit integer"},
		"tiny exponent": {`{"accessid":"u","created_at":1e-999999999,"payload":1}`, "created_at is no 64-bit integer"},
		"not UTF-8":     {"{\"accessid\":\"\xff\",\"created_at\":1,\"payload\":1}", "line 3: not valid UTF-8"},
		"too long":      {`{"accessid":"` + strings.Repeat("x", lineBytes) + `"}`, "line 3: longer than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := collect(t, strings.NewReader(good+"\n"+test.line+"\n"+good))
			if _, ok := errors.AsType[*lineError](err); !ok || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %.200v, want %q", err, test.want)
			}
		})
	}
}

func FuzzCheckEvent(f *testing.F) {
	f.Add([]byte(`{"accessid":"u","created_at":10,"payload":"x","idempotency_key":"k"}`))
	f.Add([]byte(`{"accessid":"u","created_at":-1.0e18,"payload":[[]]}`))
	f.Add([]byte(`{"accessid":"u","created_at":1e-99999999,"payload":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if checkEvent(line) == nil && bytes.TrimSpace(line)[0] != '{' {
			t.Errorf("took %q", line)
		}
	})
}
