package testcontainers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"

	"github.com/google/go-cmp/cmp"
)

// Matcher says whether JSON is as it should be.
type Matcher interface {
	fmt.Stringer // for messages
	// Differs says in what the JSON is not as it should be; "": in nothing.
	Differs(got []byte) string
}

// Equal wants the same value: members of objects in any order, numbers by their
// value. A string, a []byte and a json.RawMessage are JSON text; anything else is
// encoded first.
func Equal(value any) Matcher { return newMatcher(value, func(got, _ any) any { return got }) }

// Containing wants a value that has all this and may have more: of an object, the
// members named here, at any depth; an array must be as long. Its argument is as
// [Equal]'s.
func Containing(value any) Matcher { return newMatcher(value, prune) }

type matcher struct {
	text  string
	want  any
	view  func(got, want any) any // what of the value counts
	wrong error                   // why it can't match anything
}

func newMatcher(value any, view func(got, want any) any) Matcher {
	text, err := encode(value)
	m := matcher{text: string(text), view: view, wrong: err}
	if err == nil {
		m.want, m.wrong = decode(text)
	}
	return m
}

func encode(value any) ([]byte, error) {
	switch text := value.(type) {
	case string:
		return []byte(text), nil
	case []byte:
		return text, nil
	case json.RawMessage:
		return text, nil
	}
	return json.Marshal(value)
}

// String is the JSON that is wanted.
func (m matcher) String() string { return abridged([]byte(m.text)) }

// Differs compares values, not text.
func (m matcher) Differs(got []byte) string {
	if m.wrong != nil {
		return fmt.Sprintf("what is wanted is no JSON: %v: %s", m.wrong, m)
	}
	value, err := decode(got)
	if err != nil {
		return fmt.Sprintf("want %s, got %q, which is no JSON: %v", m, abridged(got), err)
	}
	if diff := cmp.Diff(m.want, m.view(value, m.want)); diff != "" {
		return "differs (-want +got):\n" + diff
	}
	return ""
}

// prune leaves out of a value the members that are not asked for.
func prune(got, want any) any {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return got
		}
		kept := make(map[string]any, len(want))
		for name, value := range object {
			if wanted, ok := want[name]; ok {
				kept[name] = prune(value, wanted)
			}
		}
		return kept
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return got
		}
		kept := make([]any, len(list))
		for i := range list {
			kept[i] = prune(list[i], want[i])
		}
		return kept
	}
	return got
}

// decode reads one JSON value, and all of it. Numbers keep their digits.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more behind the value")
	}
	return plain(value), nil
}

// number is one as differences show it.
type number string

// plain writes equal numbers alike.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			v[name] = plain(v[name])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		const precision = 256 // bits: more digits than Postgres' double precision or a bigint has
		if f, _, err := big.ParseFloat(v.String(), 10, precision, big.ToNearestEven); err == nil && !f.IsInf() {
			return number(f.Text('g', 60))
		}
		return number(v)
	}
	return value
}
