package notifier_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

func position(t testing.TB, text string) notifier.Position {
	t.Helper()
	p, err := notifier.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPosition_TextRoundTrips(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"1:1:", "10:10:", "10:20:10,14,19", "18446744073709551614:18446744073709551615:18446744073709551614"} {
		if got := position(t, text).String(); got != text {
			t.Errorf("position %s is printed as %s", text, got)
		}
	}
}

func TestPosition_RefusesWhatPostgresNeverSays(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "::", "1:2", "0:1:", "1:0:", "5:4:", "1:5:5", "1:5:6", "3:5:2", "1:9:4,3", "1:9:3,3", "1:9:,", "1:9:3,",
		"1:9:-3", "1:99999999999999999999:", "1:9: 3", "1:9:3:4", "a:b:c",
	} {
		if p, err := notifier.ParsePosition(text); err == nil {
			t.Errorf("position %q is read as %v", text, p)
		}
	}
}

func TestPosition_Ended(t *testing.T) {
	t.Parallel()
	p := position(t, "10:20:10,14,19")
	for txid, want := range map[uint64]bool{3: true, 9: true, 10: false, 11: true, 14: false, 15: true, 19: false, 20: false, 99: false} {
		if p.Ended(txid) != want {
			t.Errorf("Ended(%d) = %v at %v", txid, !want, p)
		}
	}
	var zero notifier.Position
	if zero.Ended(0) || zero.Ended(1) {
		t.Error("something had ended before all history")
	}
}

// A crash hands out again the ids of transactions that rolled back unflushed:
// the position must not step over what was not read.
func TestPosition_LoweredForgetsWhatWasNotRead(t *testing.T) {
	t.Parallel()
	p := position(t, "10:20:10,14,19")
	for largest, want := range map[uint64]string{
		30: "10:20:10,14,19", 19: "10:20:10,14,19", 16: "10:17:10,14", 14: "10:15:10,14", 13: "10:14:10", 9: "10:10:", 0: "1:1:",
	} {
		if got := p.Lowered(largest); got.String() != want {
			t.Errorf("lowered to %d: %v, want %s", largest, got, want)
		}
	}
}

func TestPosition_MeetIsWhatHadEndedAtBoth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want string }{
		{"10:20:10,14", "10:20:10,14", "10:20:10,14"},
		{"10:20:10,14,19", "12:17:12,14", "10:17:10,12,14"},
		{"20:20:", "10:10:", "10:10:"},
	} {
		a, b := position(t, c.a), position(t, c.b)
		for _, got := range []notifier.Position{a.Meet(b), b.Meet(a)} {
			if got.String() != c.want {
				t.Errorf("%s meets %s at %v, want %s", c.a, c.b, got, c.want)
			}
		}
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	type ranges = []notifier.TxIDRange
	for _, c := range []struct {
		name, from, to string
		want           ranges
	}{
		{"nothing happened", "10:10:", "10:10:", nil},
		{"a quiet stretch is one range", "10:10:", "20:20:", ranges{{10, 20}}},
		{"what is open is left out", "10:10:", "12:20:12,15", ranges{{10, 12}, {13, 15}, {16, 20}}},
		{"what was open and ended is read", "10:20:10,14", "14:20:14", ranges{{10, 11}}},
		{"both", "10:20:10,14", "22:25:22", ranges{{10, 11}, {14, 15}, {20, 22}, {23, 25}}},
		{"neighbours join", "18:20:18,19", "22:22:", ranges{{18, 22}}},
		{"an older position is not gone back to", "10:20:10", "10:15:10", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := notifier.Between(position(t, c.from), position(t, c.to))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// However transactions overlap, a reader that goes from position to position,
// lowering each, takes every one exactly once, soon after it has ended.
func TestPosition_EveryTransactionIsReadOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		history := newHistory(seed)
		at := history.snapshot().Lowered(0)
		read := map[uint64]int{}
		for step := range 300 {
			history.step()
			if step%7 != 0 {
				continue
			}
			to := history.snapshot()
			largest := max(at.Xmax(), 1) - 1
			for _, ids := range notifier.Between(at, to) {
				for id := ids.First; id < ids.End; id++ {
					if !history.committed[id] {
						continue // rolled back, or not ours
					}
					read[id]++
					largest = max(largest, id)
				}
			}
			at = to.Lowered(largest)
			for id := range history.committed {
				if read[id] != 1 {
					t.Fatalf("seed %d: transaction %d was read %d times by %v", seed, id, read[id], at)
				}
			}
		}
	}
}

// history is a run of overlapping transactions as Postgres numbers them.
type history struct {
	random    *rand.Rand
	next      uint64
	open      []uint64
	committed map[uint64]bool
}

func newHistory(seed uint64) *history {
	return &history{random: rand.New(rand.NewPCG(seed, 1)), next: 3, committed: map[uint64]bool{}} //nolint:gosec // a test
}

func (h *history) step() {
	if len(h.open) == 0 || h.random.IntN(2) == 0 {
		h.open = append(h.open, h.next)
		h.next++
		return
	}
	i := h.random.IntN(len(h.open))
	if h.random.IntN(3) > 0 {
		h.committed[h.open[i]] = true
	}
	h.open = slices.Delete(h.open, i, i+1)
}

func (h *history) snapshot() notifier.Position {
	xmin := h.next
	if len(h.open) > 0 {
		xmin = slices.Min(h.open)
	}
	var running []string
	for _, id := range slices.Sorted(slices.Values(h.open)) {
		running = append(running, strconv.FormatUint(id, 10))
	}
	p, err := notifier.ParsePosition(fmt.Sprintf("%d:%d:%s", xmin, h.next, strings.Join(running, ",")))
	if err != nil {
		panic(err)
	}
	return p
}

func TestPoint_Covers(t *testing.T) {
	t.Parallel()
	between := notifier.Point{From: position(t, "10:20:10,14"), To: position(t, "14:30:14,25"), After: 500}
	for _, c := range []struct {
		txid uint64
		id   int64
		want bool
	}{
		{9, 900, true}, {10, 499, true}, {10, 500, true}, {10, 501, false}, {14, 1, false},
		{21, 500, true}, {21, 501, false}, {25, 1, false}, {30, 1, false},
	} {
		if got := between.Covers(&notifier.Event{TxID: c.txid, ID: c.id}); got != c.want {
			t.Errorf("event %d of transaction %d: covered is %v", c.id, c.txid, got)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("10:20:10,14,19")
	f.Add("1:1:")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := notifier.ParsePosition(text)
		if err != nil {
			return
		}
		again, err := notifier.ParsePosition(p.String())
		if err != nil || !again.Equal(p) {
			t.Fatalf("%q is read as %v, which is read as %v, %v", text, p, again, err)
		}
		if !p.Lowered(p.Xmax()).Equal(p) || len(notifier.Between(p, p)) != 0 {
			t.Fatalf("%v differs from itself", p)
		}
	})
}
