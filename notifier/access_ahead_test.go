package notifier_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/notifier"
)

// ahead is what has been committed after the batch that a hub publishes.
type ahead struct {
	since    []string
	controls []*notifier.Event
}

func (a *ahead) changes(_ context.Context, since notifier.Position) ([]*notifier.Event, error) {
	a.since = append(a.since, since.String())
	return a.controls, nil
}

// sourced is a control row of one user's access to everything, from a source.
func sourced(kind notifier.Control, user, source string, txid uint64, snapshot string) *notifier.Event {
	e := change(kind, user, "", txid, snapshot)
	e.Payload = fmt.Appendf(nil, `{"snapshot":%q,"source":%q}`, snapshot, source)
	return e
}

// batch is a page between two positions that holds a whole batch.
func batch(t *testing.T, from, to string, events ...*notifier.Event) notifier.Page {
	return notifier.Page{From: position(t, from), To: position(t, to), Events: events}
}

// The policy answers as of now, when a grant may have been committed that the
// feed has not read: it was not there when the batch's events were committed.
func TestHub_VerdictOfALaterGrantIsNotForEarlierEvents(t *testing.T) {
	t.Parallel()
	policy, later := newRules(t, "a d", "b d"), &ahead{}
	h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes}})
	h.Start(notifier.Beginning{Position: position(t, "10:10:")})
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	b, _ := watch(t, h, notifier.Viewer{User: "b"}, nil)
	grant := change(notifier.ControlAccessGranted, "a", "d", 50, "40:51:50")
	later.controls = []*notifier.Event{grant}
	publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 1)))
	publishPage(t, h, batch(t, "21:21:", "31:31:", in("d", 30, 2))) // by the same verdict
	wantFrames(t, "who is granted it later", a)
	wantFrames(t, "who had it all the time", b, "1", "2")
	if got, want := fmt.Sprint(later.since), "[21:21:]"; got != want {
		t.Errorf("changes were looked for since %s, want %s", got, want)
	}
	later.controls = nil
	publishPage(t, h, batch(t, "31:31:", "61:61:", in("d", 45, 3), grant, in("d", 60, 4)))
	wantFrames(t, "who is granted it", a, "4")
	wantFrames(t, "who had it all the time", b, "1", "2", "3", "4")
}

// An answer that knew of changes before the feed read them is what was so before
// the changes after those: of an event between, it tells.
func TestHub_EarlyVerdictTellsWhatWasBeforeTheNextChange(t *testing.T) {
	t.Parallel()
	policy, later := newRules(t, "a d"), &ahead{}
	h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes}})
	h.Start(notifier.Beginning{Position: position(t, "10:10:")})
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	grant := change(notifier.ControlAccessGranted, "a", "d", 50, "50:51:50")
	later.controls = []*notifier.Event{grant}
	policy.at = position(t, "61:61:")
	publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 1)))
	later.controls = nil
	policy.at = position(t, "1000:1000:")
	publishPage(t, h, batch(t, "21:21:", "91:91:",
		in("d", 45, 2), grant, in("d", 60, 3), change(notifier.ControlAccessChanged, "", "", 70, "70:71:70"), in("d", 80, 4)))
	wantFrames(t, "a", a, "3", "4")
}

// It tells nothing as long as they are not read, however often the policy is asked.
func TestHub_EarlyVerdictThatIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy, later := newRules(t, "a d"), &ahead{}
		h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes, MaxAge: time.Minute}})
		h.Start(notifier.Beginning{Position: position(t, "10:10:")})
		a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
		vague := change(notifier.ControlAccessChanged, "a", "", 50, "50:51:50")
		later.controls = []*notifier.Event{vague}
		publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 1)))
		<-time.After(time.Minute) // fake time
		publishPage(t, h, batch(t, "21:21:", "31:31:", in("d", 30, 2)))
		later.controls = nil
		publishPage(t, h, batch(t, "31:31:", "61:61:", in("d", 45, 3), vague, in("d", 60, 4)))
		wantFrames(t, "a", a, "4")
	})
}

// What is committed between the policy's answer and the look for changes may be
// known to the verdict or not.
func TestHub_ChangesThatThePolicyMayNotHaveSeen(t *testing.T) {
	t.Parallel()
	policy, later := newRules(t, "a d"), &ahead{}
	h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes}})
	h.Start(notifier.Beginning{Position: position(t, "10:10:")})
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	later.controls = []*notifier.Event{
		change(notifier.ControlAccessGranted, "a", "d", 50, "40:51:50"),
		change(notifier.ControlAccessRevoked, "a", "d", 2000, "2000:2001:2000"), // the answers are as of 1000
	}
	publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 1)))
	wantFrames(t, "who has it between the two", a)
}

// Too many changes to tell apart are one blind change.
func TestHub_TooManyLaterChangesWithholdWhatIsInDoubt(t *testing.T) {
	t.Parallel()
	policy, later := newRules(t, "a d", "a e"), &ahead{}
	h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes}})
	h.Start(notifier.Beginning{Position: position(t, "10:10:")})
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 1)))
	later.controls = []*notifier.Event{{TxID: 1<<64 - 1, Control: notifier.ControlAccessChanged}}
	publishPage(t, h, batch(t, "21:21:", "31:31:", in("d", 30, 2), in("e", 30, 3)))
	wantFrames(t, "a", a, "1", "2")
}

// A replay's verdict may be from any time: from after the batch, too.
func TestHub_VerdictForAReplayIsNotForLiveEvents(t *testing.T) {
	t.Parallel()
	policy, later := newRules(t), &ahead{}
	h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Changes: later.changes}})
	h.Start(notifier.Beginning{Position: position(t, "10:10:")})
	a, sub := watch(t, h, notifier.Viewer{User: "a"}, nil)
	policy.set("a d", true)
	later.controls = []*notifier.Event{change(notifier.ControlAccessGranted, "a", "d", 50, "40:51:50")}
	stored := []*notifier.Event{in("d", 5, 1)}
	if got, err := h.Readable(t.Context(), sub, stored); err != nil || len(got) != 1 {
		t.Errorf("of what may be read today, replay shows %d, %v", len(got), err)
	}
	publishPage(t, h, batch(t, "10:10:", "21:21:", in("d", 20, 2)))
	wantFrames(t, "live", a)
}

// Who was granted something a moment ago and comes for what is stored must find
// it, although the hub has not read that yet and believes the opposite.
func TestHub_ReplayKnowsAGrantBeforeTheHub(t *testing.T) {
	t.Parallel()
	policy := newRules(t)
	h := guarded(policy)
	_, earlier := watch(t, h, notifier.Viewer{User: "a"}, nil)
	stored := []*notifier.Event{in("d", 1, 1)}
	publish(h, in("d", 1, 1)) // denied, and noted
	if got, err := h.Readable(t.Context(), earlier, stored); err != nil || len(got) != 0 {
		t.Errorf("replay shows %d events, %v", len(got), err)
	}
	policy.set("a d", true)
	policy.at = position(t, "2000:2000:")
	s := notifier.NewSubscriber("a", ids{}, &recorder{})
	h.Join(s)
	sub, _, err := h.Subscribe(s, notifier.Viewer{User: "a"}, notifier.Filter{}, notifier.Permit{At: policy.at})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.Readable(t.Context(), sub, stored); err != nil || len(got) != 1 {
		t.Errorf("replay shows %d events, %v", len(got), err)
	}
}

// Two conditions must hold; that one was set before the event says nothing of
// the other, which was set after it.
func TestHub_TheSecondOfTwoGrantsDecides(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		policy := newRules(t)
		h := guarded(policy)
		a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
		if known {
			publish(h, in("d", 1, 1))
		}
		policy.set("a d", true)
		publishPage(t, h, notifier.Page{Events: []*notifier.Event{
			change(notifier.ControlAccessGranted, "a", "d", 20, "20:21:20"),
			in("d", 25, 25),
			sourced(notifier.ControlAccessGranted, "a", "users", 30, "30:31:30"),
			in("d", 35, 35),
		}})
		wantFrames(t, "a", a, "35")
	}
}

// A permission that all were taken and this one given back in one transaction
// was there before or was not: only what was known tells.
func TestHub_TruncatedAndFilledAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		known, had  bool
		wantBetween string
	}{{"had it", true, true, "10"}, {"had it not", true, false, ""}, {"nobody knows", false, true, ""}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			policy := newRules(t)
			policy.set("a d", c.had)
			h := guarded(policy)
			a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
			var want []string
			if c.known {
				publish(h, in("d", 1, 1))
				if c.had {
					want = append(want, "1")
				}
			}
			policy.set("a d", true)
			publishPage(t, h, notifier.Page{Events: []*notifier.Event{
				change(notifier.ControlAccessRevoked, "", "", 20, "20:22:20,21"),
				in("d", 9, 10), // seen by both
				change(notifier.ControlAccessGranted, "a", "d", 20, "20:22:20,21"),
				in("d", 30, 30),
			}})
			if c.wantBetween != "" {
				want = append(want, c.wantBetween)
			}
			wantFrames(t, "a", a, append(want, "30")...)
		})
	}
}

// A revocation that a grant of another kind follows: what the first tells
// exactly is not forgotten over the second.
func TestHub_ExactlyRevokedAndVaguelyGranted(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	publish(h, in("d", 1, 1))
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d", 10, 10),
		change(notifier.ControlAccessRevoked, "a", "d", 20, "20:21:20"),
		in("d", 25, 25),
		change(notifier.ControlAccessGranted, "a", "", 30, "30:31:30"),
		in("d", 35, 35),
	}})
	wantFrames(t, "a", a, "1", "10", "35")
}

// A grant that has no place among the events says nothing of when it came: what
// is read together with it is withheld, except what its own transaction says.
func TestHub_GrantWithoutAPlaceAmongTheEvents(t *testing.T) {
	t.Parallel()
	for _, kind := range []notifier.Control{notifier.ControlAccessGranted, notifier.ControlAccessChanged} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			policy := newRules(t, "a d", "b d")
			h := guarded(policy)
			a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
			b, _ := watch(t, h, notifier.Viewer{User: "b"}, nil)
			vague := change(kind, "a", "d", 20, "")
			vague.Payload = []byte(`{"snapshot":null}`)
			publishPage(t, h, notifier.Page{Events: []*notifier.Event{
				in("d", 9, 9), in("d", 15, 15), in("d", 20, 20), vague, in("d", 25, 25),
			}})
			publishPage(t, h, notifier.Page{Events: []*notifier.Event{in("d", 40, 40)}})
			wantFrames(t, "a", a, "20", "40")
			wantFrames(t, "whom it does not concern", b, "9", "15", "20", "25", "40")
		})
	}
}

// The same goes for an event that has no place among the changes; whoever had
// access before, and lost nothing, gets it.
func TestHub_EventWithoutAPlaceAmongTheChanges(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d", "b d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	b, _ := watch(t, h, notifier.Viewer{User: "b"}, nil)
	vague := func(txid uint64) *notifier.Event {
		e := in("d", txid, int64(txid))
		e.Unordered = true
		return e
	}
	publish(h, vague(1)) // nothing has changed
	policy.set("a d", false)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{vague(9), change(notifier.ControlAccessRevoked, "a", "d", 10, "10:11:10"), vague(11)}})
	policy.set("a d", true)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		change(notifier.ControlAccessGranted, "a", "d", 20, "20:21:20"),
		vague(20), vague(25), in("d", 26, 26),
		change(notifier.ControlAccessGranted, "b", "", 30, "30:31:30"),
	}})
	wantFrames(t, "a", a, "1", "20", "26")
	wantFrames(t, "who had it before", b, "1", "9", "11", "20", "25", "26")
}

// What one transaction takes and gives back was never missing, also if nobody
// knows when.
func TestHub_GivenBackWithoutAPlaceAmongTheEvents(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	back := change(notifier.ControlAccessGranted, "a", "d", 20, "")
	back.Payload = []byte(`{"snapshot":null}`)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d", 9, 9), change(notifier.ControlAccessRevoked, "a", "d", 20, "9:21:9,20"), back, in("d", 25, 25),
	}})
	wantFrames(t, "a", a, "9", "25")
}

// access_changed() of something else takes no event from who has had access all
// the time: what it made doubtful was asked for again at once, so the next one
// finds it known.
func TestHub_VagueChangesTakeNothingFromWhoKeepsAccess(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	publish(h, in("d", 1, 1))
	for n := range uint64(3) {
		at := 10 * (n + 1)
		publishPage(t, h, notifier.Page{Events: []*notifier.Event{
			in("d", at, int64(at)),
			change(notifier.ControlAccessChanged, "", "", at+1, fmt.Sprintf("%d:%d:", at+1, at+1)),
		}})
	}
	wantFrames(t, "a", a, "1", "10", "20", "30")
}

// Beyond a number, what a change has made doubtful waits for an event that needs
// it, or one change of everything would ask for everything.
func TestHub_NotEverythingIsAskedAgainAtOnce(t *testing.T) {
	t.Parallel()
	policy := newRules(t)
	h := guarded(policy)
	watch(t, h, notifier.Viewer{User: "a"}, nil)
	for id := range int64(1001) {
		publish(h, in(fmt.Sprint("d", id), 1, id+1))
	}
	asked := len(policy.asked)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{change(notifier.ControlAccessChanged, "", "", 10, "10:10:")}})
	if got := len(policy.asked) - asked; got != 0 {
		t.Errorf("asked %d times", got)
	}
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d7", 20, 2000), change(notifier.ControlAccessRevoked, "a", "d7", 21, "21:21:"),
	}})
	if last := policy.asked[len(policy.asked)-1]; len(last) != 1 {
		t.Errorf("asked again: %v", last)
	}
}
