package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func event(at int64, payload string) Event {
	return Event{AccessID: "u", CreatedAt: at, Payload: json.RawMessage(payload)}
}

// shown returns which of the events are new.
func shown(m *memory, events ...Event) []bool {
	var result []bool
	for _, e := range events {
		result = append(result, m.isNew(e))
	}
	return result
}

func TestMemory_CountsEqualEvents(t *testing.T) {
	t.Parallel()
	m := newMemory(10)
	a, b := event(1, `"x"`), event(2, `"x"`)
	got := [][]bool{shown(m, a, a, b)}
	m.reconnected()
	got = append(got, shown(m, a, b, a, a)) // one a happened meanwhile
	m.reconnected()
	got = append(got, shown(m, a, a), shown(m, a, b, b))
	want := [][]bool{{true, true, true}, {false, false, false, true}, {false, false}, {false, false, true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatch_ForgetsBeyondItsMemoryAndMovesOn(t *testing.T) {
	t.Parallel()
	var got []Event
	w := &watch{
		WatchConfig: WatchConfig{Events: func(events []Event) error { got = append(got, events...); return nil }},
		memory:      newMemory(2),
	}
	future := event(time.Now().Add(time.Hour).Unix(), `1`)
	for _, e := range []Event{event(5, `1`), future, event(7, `1`)} {
		if err := w.show([]Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	if w.Since != 7 || len(w.memory.shown) != 0 || len(got) != 3 {
		t.Errorf("since %d, %d remembered, %d shown; want 7, 0, 3", w.Since, len(w.memory.shown), len(got))
	}
}

func TestBackoff_GrowsToItsBoundAndStartsAnew(t *testing.T) {
	t.Parallel()
	var b backoff
	step := firstPause
	for range 20 {
		if p := b.pause(); p > step || p < step/2 {
			t.Errorf("pause %v, want %v to %v", p, step/2, step)
		}
		step = min(2*step, mostPause)
	}
	b.reset()
	if p := b.pause(); p > firstPause {
		t.Errorf("pause %v after reset", p)
	}
}

func TestWait_EndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if err := wait(t.Context(), time.Hour); err != nil {
			t.Error(err)
		}
	})
}

func TestBackoff_WaitsAsLongAsItIsAsked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err         error
		least, most time.Duration
	}{
		{&StatusError{Status: 503, RetryAfter: 7 * time.Second}, 7 * time.Second, 7 * time.Second},
		{fmt.Errorf("push: %w", &StatusError{Status: 429, RetryAfter: time.Hour}), mostAsked, mostAsked},
		{&StatusError{Status: 503}, firstPause / 2, firstPause},
		{fmt.Errorf("closed: %w", &closeError{1012, "restarting; retry in 850 ms"}), 850 * time.Millisecond, 850 * time.Millisecond},
		{&closeError{1012, "restarting"}, firstPause / 2, firstPause},
		{&closeError{1012, "restarting; retry in -5 ms"}, firstPause / 2, firstPause},
		{&closeError{1012, "restarting; retry in 99999999999 ms"}, firstPause / 2, firstPause},
		{&closeError{1008, "retry in 850 ms"}, firstPause / 2, firstPause},
		{errors.New("reset"), firstPause / 2, firstPause},
	} {
		var b backoff
		if pause := b.pauseAfter(test.err); pause < test.least || pause > test.most {
			t.Errorf("%v: pause %v, want %v to %v", test.err, pause, test.least, test.most)
		}
	}
}
