package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/notifier/notifier"
)

func TestTextFrame_Lengths(t *testing.T) {
	t.Parallel()
	for size, header := range map[int]string{
		0: "8100", 1: "8101", 125: "817d", 126: "817e007e", 65535: "817effff", 65536: "817f0000000000010000",
	} {
		text := strings.Repeat("x", size)
		frame := newText(text)
		if got := fmt.Sprintf("%x", frame[:len(frame)-size]); got != header || string(frame[len(frame)-size:]) != text {
			t.Errorf("%d bytes: header %s, want %s", size, got, header)
		}
	}
}

func TestControlFrames(t *testing.T) {
	t.Parallel()
	for want, frame := range map[string][]byte{
		"890131":                   newPing(1),
		"890a34323934393637323935": newPing(1<<32 - 1),
		"880703e8636c6f7365":       newClose(closing{1000, "close"}),
	} {
		if got := fmt.Sprintf("%x", frame); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if frame := newClose(closing{1000, strings.Repeat("x", 1000)}); len(frame) != 127 || frame[1] != 125 {
		t.Errorf("a control frame of %d bytes", len(frame))
	}
}

func TestClosings_EveryEndingHasOne(t *testing.T) {
	t.Parallel()
	for _, ending := range []notifier.Ending{
		notifier.EndedByTrickle, notifier.EndedByCrowd,
		notifier.EndedByClient, notifier.EndedByDrop, notifier.EndedBySlowness, notifier.EndedBySilence,
		notifier.EndedByDeadline, notifier.EndedByProtocol, notifier.EndedByShutdown, notifier.EndedByOutage,
	} {
		if closings[ending].code == 0 {
			t.Errorf("%s has no close code", ending)
		}
	}
}

func TestErniusEncode(t *testing.T) {
	t.Parallel()
	to := `a"<b>` + "\n"
	frame := ernius{}.Encode([]*notifier.Event{
		{Recipient: &to, CreatedAt: time.Unix(-2, 500_000_000), Payload: json.RawMessage(`{ "a" : [1, 2] }`)},
		{CreatedAt: time.Unix(1000, 999_999_999)},
	})
	want := `[{"accessid":"a\"<b>\n","created_at":-2,"payload":{ "a" : [1, 2] }},{"accessid":null,"created_at":1000,"payload":null}]`
	if !bytes.HasSuffix(frame, []byte(want)) || len(frame) != len(want)+4-2*(btoi(len(want) < 126)) {
		t.Errorf("got %q", frame)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func FuzzAnnouncement(f *testing.F) {
	for _, seed := range []string{
		`{"access_id":"client1","timestamp":2000}`, `{"access_id":1}`, `[`, `{"timestamp":1e999999999,"access_id":""}`,
		`{"access_id":"\u0000","timestamp":1}`, `{"access_id":"\ud800","timestamp":1.0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		command, err := ernius{}.decode(message)
		if err != nil {
			return
		}
		var reference struct {
			AccessID  *string      `json:"access_id"`
			Timestamp *json.Number `json:"timestamp"`
		}
		if json.Unmarshal(message, &reference) != nil {
			return // keys in other case, which count for encoding/json only
		}
		filter := command.wants[0].filter(command.user)
		if filter.Recipient == nil || *filter.Recipient != command.user || len(command.user) > maxAccessID {
			t.Errorf("%q: %+v", message, command)
		}
	})
}
