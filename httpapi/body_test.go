package httpapi

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"example.com/notifier/notifier"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	b := newBudget(10)
	first := &budgetReader{source: strings.NewReader("123456"), budget: b}
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	second := &budgetReader{source: strings.NewReader("123456"), budget: b}
	if _, err := io.ReadAll(second); !errors.Is(err, errBusy) {
		t.Errorf("took more than the budget: %v", err)
	}
	second.release()
	first.release()
	if free := b.free.Load(); free != 10 {
		t.Errorf("%d bytes are free again", free)
	}
}

func FuzzPush(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[{"accessid":"a","created_at":1,"payload":"x"}]`, `[{"accessid":"a","created_at":1e999999999,"payload":null}]`,
		`[{"accessid":"a","created_at":1,"payload":{"b":[1,2]},"idempotency_key":"k"},{}]`, `{`, `[1 2]`, `[]]`, "[\xff]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := readJSON(bytes.NewReader(body))
		var p notifier.Publication
		if err == nil {
			p, err = parsePush(list, 3)
		}
		if err != nil {
			if told := told(err); told.status < 400 || told.status > 503 || strings.Contains(told.text, "\n") {
				t.Errorf("%q: %d %q", body, told.status, told.text)
			}
			return
		}
		if len(p.Events) > 3 || p.EventKeys != nil && len(p.EventKeys) != len(p.Events) {
			t.Errorf("%q: %+v", body, p)
		}
		for _, e := range p.Events {
			if e.Recipient == nil || e.CreatedAt.Before(notifier.MinTime) || e.CreatedAt.After(notifier.MaxTime) || len(e.Payload) == 0 {
				t.Errorf("%q: %+v", body, e)
			}
		}
	})
}

func told(err error) *refusal {
	if told, ok := errors.AsType[*refusal](err); ok {
		return told
	}
	return refusalOf(err)
}
