package notifier_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/notifier/notifier"
)

func someCursors(t testing.TB) map[string]notifier.Cursor {
	at := position(t, "740000001:740000123:740000001,740000120")
	anchor := notifier.AnchorOf(&notifier.Event{ID: 1_000_000_000, TxID: 740000122, CreatedAt: time.Unix(1700000000, 0), Type: "issueUpdate"})
	return map[string]notifier.Cursor{
		"before all history": {Point: notifier.Point{From: position(t, "1:1:"), To: position(t, "1:1:")}},
		"between batches":    {History: notifier.History{1, 2, 3, 4, 5}, Point: notifier.Point{From: at, To: at}, Anchor: anchor},
		"in a batch": {History: notifier.History{9, 8, 7, 6, 5}, Anchor: anchor, Point: notifier.Point{
			From: position(t, "739999990:740000100:739999990,740000001,740000098"), To: at, After: 999_999_999,
		}},
	}
}

func TestCursor_SurvivesItsText(t *testing.T) {
	signer := notifier.NewCursorSigner([]byte("a key"))
	for name, c := range someCursors(t) {
		text := signer.Text(c)
		if len(text) >= 80 || name == "between batches" && len(text) >= 60 {
			t.Errorf("%s: %d characters: %s", name, len(text), text)
		}
		back, err := notifier.NewCursorSigner([]byte("a key")).Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back.History != c.History || back.Anchor != c.Anchor || back.Point.After != c.Point.After ||
			!back.Point.From.Equal(c.Point.From) || !back.Point.To.Equal(c.Point.To) {
			t.Errorf("%s: got back %+v, want %+v", name, back, c)
		}
	}
}

func TestCursor_MadeUpAndTruncatedAreErrors(t *testing.T) {
	signer := notifier.NewCursorSigner([]byte("a key"))
	text := signer.Text(someCursors(t)["in a batch"])
	bad := []string{"", "x", "!!", text + "A", text + "\n", "\r" + text, text[:9] + "\r\n" + text[9:], notifier.NewCursorSigner([]byte("another")).Text(notifier.Cursor{}), strings.Repeat("A", 20<<10)}
	for n := range text {
		other := byte('A')
		if text[n] == 'A' {
			other = 'B'
		}
		bad = append(bad, text[:n], text[:n]+string(other)+text[n+1:])
	}
	for _, made := range bad {
		if _, err := signer.Parse(made); !errors.Is(err, notifier.ErrNoCursor) {
			t.Errorf("Parse(%q) = %v", made, err)
		}
	}
}

func TestAnchorOf_TellsEventsApart(t *testing.T) {
	e := notifier.Event{ID: 1, TxID: 2, CreatedAt: time.Unix(3, 0), Type: "a", Action: "b", Key: "c"}
	other := e
	other.Key = "d"
	if notifier.AnchorOf(&e) == notifier.AnchorOf(&other) {
		t.Error("two events have the same anchor")
	}
}

// FuzzCursor feeds the parser what passes for signed, which only a leaked key could
// make: it must not panic, and what it takes must be well formed.
func FuzzCursor(f *testing.F) {
	signer := notifier.NewCursorSigner([]byte("a key"))
	for _, c := range someCursors(f) {
		f.Add(notifier.UnsignedCursor(signer, c))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := notifier.ParseUnsignedCursor(raw)
		if err != nil {
			return
		}
		for _, p := range []notifier.Position{c.Point.From, c.Point.To} {
			if _, err := notifier.ParsePosition(p.String()); err != nil {
				t.Errorf("%v", err)
			}
		}
		back, err := signer.Parse(signer.Text(c))
		if err != nil || back.Anchor != c.Anchor || !back.Point.To.Equal(c.Point.To) {
			t.Errorf("%+v became %+v: %v", c, back, err)
		}
	})
}
