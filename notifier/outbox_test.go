package notifier_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/notifier"
)

// drain writes what the outbox has, as a socket that takes that many bytes at a
// time, and returns it.
func drain(o *notifier.Outbox, step int) string {
	var out bytes.Buffer
	if !o.Acquire() {
		return ""
	}
	for {
		frames := o.Next(nil)
		if len(frames) == 0 {
			return out.String()
		}
		all := bytes.Join(frames, nil)
		n := min(step, len(all))
		out.Write(all[:n])
		o.Wrote(n)
	}
}

func TestOutbox_RepliesGoFirstAndHalfWrittenFramesAreFinished(t *testing.T) {
	t.Parallel()
	for step := 1; step < 20; step++ {
		var o notifier.Outbox
		o.Queue([]byte("event1 "), 1, nil)
		o.Queue([]byte("event2 "), 1, nil)
		if !o.Acquire() {
			t.Fatal("nobody could write")
		}
		first := bytes.Join(o.Next(nil), nil)
		o.Wrote(3)
		o.Reply([]byte("reply "))
		o.Queue([]byte("event3 "), 1, nil)
		if o.Acquire() {
			t.Fatal("two writers at once")
		}
		var got strings.Builder
		got.WriteString(string(first[:3]))
		for {
			frames := o.Next(nil)
			if len(frames) == 0 {
				break
			}
			all := bytes.Join(frames, nil)
			n := min(step, len(all))
			got.WriteString(string(all[:n]))
			o.Wrote(n)
		}
		if want := "event1 event2 reply event3 "; got.String() != want {
			t.Fatalf("in steps of %d: %q, want %q", step, got.String(), want)
		}
	}
}

func TestOutbox_Limits(t *testing.T) {
	t.Parallel()
	o := notifier.Outbox{Limits: notifier.OutboxLimits{Events: 3, Bytes: 10}}
	if !o.Queue(make([]byte, 100), 1, nil) {
		t.Error("a frame above the limit must fit into an empty outbox: it would never arrive")
	}
	if o.Queue([]byte("x"), 1, nil) {
		t.Error("took more bytes than the limit")
	}
	o.Reply([]byte("reply"))
	if n := len(drain(&o, 7)); n != 105 {
		t.Errorf("wrote %d bytes", n)
	}
	if !o.Queue([]byte("a"), 2, nil) || !o.Queue([]byte("b"), 1, nil) || o.Queue([]byte("c"), 1, nil) {
		t.Error("the limit of three events is not kept")
	}
	if events, size := o.Waiting(); events != 3 || size != 2 {
		t.Errorf("waiting: %d events, %d bytes", events, size)
	}
	o.Discard()
	if got := drain(&o, 9); got != "" {
		t.Errorf("discarded events were written: %q", got)
	}
}

func TestOutbox_HeldEventsWaitForTheReplay(t *testing.T) {
	t.Parallel()
	var o notifier.Outbox
	o.Hold()
	o.Queue([]byte("live"), 1, nil)
	if o.Acquire() {
		t.Error("held events are to be written")
	}
	o.Reply([]byte("replay "))
	if got := drain(&o, 2); got != "replay " {
		t.Errorf("while held: %q", got)
	}
	o.Release()
	if got := drain(&o, 2); got != "live" {
		t.Errorf("after release: %q", got)
	}
}

// A replay that begins while the connection is being ended must not hold the
// close frame back.
func TestOutbox_HoldAfterTheEndHoldsNothing(t *testing.T) {
	t.Parallel()
	var o notifier.Outbox
	o.Finish([]byte("bye"))
	o.Hold()
	if got := drain(&o, 9); got != "bye" {
		t.Errorf("wrote %q", got)
	}
}

func TestOutbox_WaitReplies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o notifier.Outbox
		if err := o.WaitReplies(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.Reply([]byte("reply"))
		waited := make(chan error)
		go func() { waited <- o.WaitReplies(t.Context()) }() // ends when the reply is written
		synctest.Wait()
		select {
		case <-waited:
			t.Fatal("did not wait")
		default:
		}
		drain(&o, 1)
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		o.Reply([]byte("reply"))
		gone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
		defer cancel()
		if err := o.WaitReplies(ctx); !errors.Is(err, gone) {
			t.Fatalf("gave up with %v", err)
		}
	})
}

func TestOutbox_NothingFollowsTheLastFrame(t *testing.T) {
	t.Parallel()
	var o notifier.Outbox
	o.Queue([]byte("event "), 1, nil)
	o.Reply([]byte("reply "))
	o.Finish([]byte("close"))
	o.Finish([]byte("close again"))
	o.Reply([]byte("late reply"))
	if !o.Queue([]byte("late event"), 1, nil) {
		t.Error("an outbox that ends says that it is full: its client would be called slow")
	}
	o.Discard()
	if got, want := drain(&o, 4), "reply event close"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := o.WaitEmpty(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOutbox_FinishDropsWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	var o notifier.Outbox
	o.Hold()
	o.Queue([]byte("live"), 1, nil)
	o.Reply([]byte("half of a replay "))
	o.Finish([]byte("close"))
	if got, want := drain(&o, 4), "half of a replay close"; got != want {
		t.Errorf("got %q, want %q: live events after an unfinished replay are a hole", got, want)
	}
}

func TestOutbox_WaitEmptyWaitsForEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o notifier.Outbox
		o.Queue([]byte("event"), 1, nil)
		waited := make(chan error, 1)
		go func() { waited <- o.WaitEmpty(t.Context()) }() // ends when the event is written
		synctest.Wait()
		if len(waited) != 0 {
			t.Fatal("did not wait")
		}
		drain(&o, 2)
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}
