package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

// rules is a policy that remembers what it was asked.
type rules struct {
	mu      sync.Mutex
	allowed map[string]bool // "user dataset", dataset "" for none
	at      notifier.Position
	asked   [][]string
	before  func(attempt int) error // runs before each answer, without the lock
}

func (r *rules) Ask(_ context.Context, questions []notifier.Question) ([]bool, notifier.Position, error) {
	r.mu.Lock()
	var names []string
	answers := make([]bool, len(questions))
	for i, q := range questions {
		names = append(names, q.User+" "+q.Dataset)
		answers[i] = !q.HasDataset || r.allowed[q.User+" "+q.Dataset]
	}
	slices.Sort(names)
	r.asked = append(r.asked, names)
	at, attempt, before := r.at, len(r.asked), r.before
	r.mu.Unlock()
	if before != nil {
		if err := before(attempt); err != nil {
			return nil, at, err
		}
	}
	return answers, at, nil
}

func (r *rules) set(question string, allowed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed[question] = allowed
}

func newRules(t testing.TB, allowed ...string) *rules {
	r := &rules{allowed: map[string]bool{}, at: position(t, "1000:1000:")}
	for _, a := range allowed {
		r.allowed[a] = true
	}
	return r
}

func guarded(p notifier.Policy) *notifier.Hub {
	return notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: p}})
}

// watch subscribes a user to everything it may see.
func watch(t testing.TB, h *notifier.Hub, v notifier.Viewer, scope *notifier.Question) (*recorder, *notifier.Subscription) {
	t.Helper()
	r := &recorder{}
	s := notifier.NewSubscriber(v.User, ids{}, r)
	h.Join(s)
	sub, _, err := h.Subscribe(s, v, notifier.Filter{}, notifier.Permit{Scope: scope, At: position(t, "1000:1000:")})
	if err != nil {
		t.Fatal(err)
	}
	return r, sub
}

// in makes an event of a dataset.
func in(dataset string, txid uint64, id int64) *notifier.Event {
	return &notifier.Event{ID: id, TxID: txid, Type: "t", DatasetID: &dataset}
}

// change makes the control row of a change of access. "" is all.
func change(kind notifier.Control, user, dataset string, txid uint64, snapshot string) *notifier.Event {
	e := &notifier.Event{ID: 1 << 40, TxID: txid, Control: kind, Payload: fmt.Appendf(nil, `{"snapshot":%q}`, snapshot)}
	if user != "" {
		e.Recipient = &user
	}
	if dataset != "" {
		e.DatasetID = &dataset
	}
	return e
}

func publishPage(t testing.TB, h *notifier.Hub, p notifier.Page) {
	t.Helper()
	for _, e := range p.Events {
		if e.Control != "" {
			p.Controls = append(p.Controls, e)
		}
	}
	p.Last = true
	if err := h.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func TestHub_PolicyDecidesWhoSeesWhat(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d1", "b d1", "b d2")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	b, _ := watch(t, h, notifier.Viewer{User: "b"}, nil)
	admin, _ := watch(t, h, notifier.Viewer{User: "root", Admin: true}, nil)
	forB := in("d1", 5, 5)
	user := "b"
	forB.Recipient = &user
	both := in("d2", 6, 6)
	other := "a"
	both.Recipient = &other // a is the recipient, but may not read d2
	publish(h, in("d1", 1, 1), in("d2", 2, 2), in("d3", 3, 3), &notifier.Event{ID: 4, TxID: 4}, forB, both)
	wantFrames(t, "a", a, "1", "4")
	wantFrames(t, "b", b, "1", "2", "4", "5")
	wantFrames(t, "an admin", admin, "1", "2", "3", "4", "5", "6")
	want := [][]string{{"a ", "a d1", "a d2", "a d3", "b ", "b d1", "b d2", "b d3"}}
	if diff := cmp.Diff(want, policy.asked); diff != "" {
		t.Errorf("one page is one set of questions, about nobody else's recipients (-want +got):\n%s", diff)
	}
	publish(h, in("d1", 7, 7), in("d3", 8, 8))
	if len(policy.asked) != 1 {
		t.Errorf("asked again although everything was known: %v", policy.asked)
	}
}

func TestHub_VerdictsGrowOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := newRules(t, "a d")
		h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, MaxAge: time.Minute}})
		a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
		publish(h, in("d", 1, 1))
		policy.set("a d", false)
		<-time.After(59 * time.Second) // fake time
		publish(h, in("d", 2, 2))
		<-time.After(time.Second)
		publish(h, in("d", 3, 3))
		wantFrames(t, "a", a, "1", "2")
	})
}

// Of many users and datasets no more is kept than may be: first what is too old
// goes, and then everything, to be asked again.
func TestHub_VerdictsOfAllAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := newRules(t, "a d1", "a d2", "a d3", "b d1", "b d2", "b d3")
		h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, MaxAge: time.Minute, MaxVerdicts: 4}})
		for _, user := range []string{"a", "b"} {
			watch(t, h, notifier.Viewer{User: user}, nil)
		}
		id := int64(0)
		step := func(dataset string, asked bool) {
			t.Helper()
			before := len(policy.asked)
			id++
			publish(h, in(dataset, uint64(id), id))
			if got := len(policy.asked) > before; got != asked {
				t.Errorf("event %d, of %s: the policy is asked: %v", id, dataset, got)
			}
		}
		step("d1", true)
		step("d2", true) // four verdicts now, all there may be
		step("d1", false)
		step("d3", true)
		step("d2", true) // six were too many, and none was old
		step("d2", false)
		step("d1", true)
		<-time.After(time.Minute) // fake time
		step("d3", true)
		step("d3", false) // six were too many, but four of them old
	})
}

func TestHub_RevocationTakesEffectBeforeTheEventsOfItsBatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, user, dataset string }{
		{"of one user and dataset", "a", "d"}, {"of one user", "a", ""}, {"of one dataset", "", "d"}, {"of everything", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			policy := newRules(t, "a d", "b d", "a e")
			h := guarded(policy)
			a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
			b, _ := watch(t, h, notifier.Viewer{User: "b"}, nil)
			publish(h, in("d", 1, 1), in("e", 1, 2))
			policy.set("a d", false)
			publishPage(t, h, notifier.Page{Events: []*notifier.Event{
				in("d", 2, 3), // its id is smaller, but who knows when it was committed
				change(notifier.ControlAccessRevoked, c.user, c.dataset, 3, "3:3:"),
				in("d", 4, 4), in("e", 4, 5),
			}})
			wantFrames(t, "who lost access", a, "1", "2", "5")
			wantFrames(t, "who kept it", b, "1", "3", "4")
		})
	}
}

// The change of one user or dataset must not make all verdicts be asked anew.
func TestHub_RevocationForgetsNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d", "a e", "b d")
	h := guarded(policy)
	watch(t, h, notifier.Viewer{User: "a"}, nil)
	watch(t, h, notifier.Viewer{User: "b"}, nil)
	publish(h, in("d", 1, 1), in("e", 1, 2))
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "a", "d", 3, "3:3:"), in("d", 4, 4), in("e", 4, 5),
	}})
	if diff := cmp.Diff([]string{"a d"}, policy.asked[len(policy.asked)-1]); diff != "" {
		t.Error(diff)
	}
}

// Taken and given back inside one batch: what fell between is withheld.
func TestHub_EventsBetweenRevocationAndGrantOfOneBatch(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	publish(h, in("d", 1, 1))
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d", 10, 10), // committed before the revocation: its snapshot sees it
		in("d", 19, 11), // an older transaction that committed between: the grant's snapshot sees it, the revocation's not
		change(notifier.ControlAccessRevoked, "a", "d", 20, "19:21:19,20"),
		in("d", 20, 12), // of the revocation's own transaction
		in("d", 21, 13), // between
		change(notifier.ControlAccessGranted, "a", "d", 30, "30:30:"),
		in("d", 30, 14), // of the grant's own transaction
		in("d", 31, 15), // after
	}})
	wantFrames(t, "a", a, "1", "10", "14", "15")
}

// Access that was missing before the batch is not given to what came before the
// grant, whether that was known or only the grant tells.
func TestHub_EventsBeforeAGrantAreWithheld(t *testing.T) {
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
			in("d", 10, 10), change(notifier.ControlAccessGranted, "a", "d", 20, "20:20:"), in("d", 20, 11), in("d", 21, 12),
		}})
		wantFrames(t, "a", a, "11", "12")
	}
}

// Who had access before a revocation that follows the event had it then, also if
// it is given back in the same batch.
func TestHub_EventsBeforeARevocationAreDelivered(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		policy := newRules(t, "a d")
		h := guarded(policy)
		a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
		if known {
			publish(h, in("d", 1, 1))
		}
		publishPage(t, h, notifier.Page{Events: []*notifier.Event{
			in("d", 10, 10), change(notifier.ControlAccessRevoked, "a", "d", 20, "20:20:"),
			in("d", 21, 11), change(notifier.ControlAccessGranted, "a", "d", 30, "30:30:"), in("d", 31, 12),
		}})
		want := []string{"10", "12"}
		if known {
			want = append([]string{"1"}, want...)
		}
		wantFrames(t, "a", a, want...)
	}
}

// A transaction that deletes and inserts all permissions, as a nightly
// synchronisation does, takes nothing from who has them before and after.
func TestHub_AccessThatATransactionGivesBackIsNeverMissing(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d", 10, 10),
		change(notifier.ControlAccessRevoked, "a", "d", 20, "20:20:"),
		in("d", 21, 11),
		change(notifier.ControlAccessGranted, "a", "d", 20, "20:30:20"),
		in("d", 31, 12),
	}})
	wantFrames(t, "a", a, "10", "11", "12")
}

// A change that may be either, and one that can't be read, withhold what may
// have fallen between.
func TestHub_ChangesThatSayLittleWithholdMore(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	h := guarded(policy)
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
	broken := change(notifier.ControlAccessRevoked, "", "", 20, "nonsense")
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		in("d", 10, 10), broken, in("d", 21, 13),
		change(notifier.ControlAccessChanged, "", "", 30, "30:30:"), in("d", 25, 14), in("d", 31, 15),
	}})
	wantFrames(t, "a", a, "15")
}

func TestHub_LostPermitEndsTheSubscription(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d", "b d")
	h := guarded(policy)
	scope := func(user string) *notifier.Question {
		return &notifier.Question{User: user, Type: "t", Dataset: "d", HasDataset: true}
	}
	a, _ := watch(t, h, notifier.Viewer{User: "a"}, scope("a"))
	b, _ := watch(t, h, notifier.Viewer{User: "b"}, scope("b"))
	admin, _ := watch(t, h, notifier.Viewer{User: "a", Admin: true}, scope("a"))
	policy.set("a d", false)
	publishPage(t, h, notifier.Page{Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "", "d", 3, "3:3:"), in("d", 4, 4), {ID: 5, TxID: 5},
	}})
	wantFrames(t, "who lost it is told, once, and gets nothing more", a, "revoked")
	wantFrames(t, "who kept it", b, "4", "5")
	wantFrames(t, "an admin", admin, "4", "5")
}

// DESIGN: a policy query in flight while a revocation passes would leak. Here it
// is that of a subscription.
func TestHub_PermitOlderThanARevocationIsRefused(t *testing.T) {
	t.Parallel()
	h := guarded(newRules(t, "a d"))
	s := notifier.NewSubscriber("a", ids{}, &recorder{})
	h.Join(s)
	from, to := position(t, "10:10:"), position(t, "20:21:20")
	publishPage(t, h, notifier.Page{From: from, To: to, Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "a", "d", 12, "12:12:"),
	}})
	for text, want := range map[string]error{
		"10:10:": notifier.ErrStalePermit, "12:30:12": notifier.ErrStalePermit, "20:21:20": nil, "20:40:20,30": nil, "40:40:": nil,
	} {
		_, _, err := h.Subscribe(s, notifier.Viewer{User: "a"}, notifier.Filter{}, notifier.Permit{At: position(t, text)})
		if !errors.Is(err, want) {
			t.Errorf("with a permit as of %s: %v", text, err)
		}
	}
}

// The same for a verdict that replay asks for: it was computed before the
// revocation and comes back after it.
func TestHub_VerdictOlderThanARevocationIsAskedAgain(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d")
	policy.at = position(t, "1000:1000:")
	h := guarded(policy)
	a, sub := watch(t, h, notifier.Viewer{User: "a"}, nil)
	inFlight, resume := make(chan struct{}), make(chan struct{})
	policy.before = func(attempt int) error {
		if attempt == 1 {
			close(inFlight)
			<-resume
		}
		return nil
	}
	readable := make(chan []*notifier.Event)
	go func() { // ends when the policy has answered
		events, err := h.Readable(context.Background(), sub, []*notifier.Event{in("d", 5, 5)})
		if err != nil {
			t.Error(err)
		}
		readable <- events
	}()
	<-inFlight
	policy.mu.Lock()
	policy.allowed["a d"] = false
	policy.at = position(t, "1030:1030:")
	policy.mu.Unlock()
	publishPage(t, h, notifier.Page{From: position(t, "1000:1000:"), To: position(t, "1020:1020:"), Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "a", "d", 1012, "1012:1012:"),
	}})
	close(resume)
	if got := <-readable; len(got) != 0 {
		t.Errorf("replay shows %d events after the revocation", len(got))
	}
	publish(h, in("d", 1031, 31))
	wantFrames(t, "live", a)
}

func TestHub_NothingIsDeliveredWhileThePolicyFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := newRules(t, "a d")
		var reports []string
		policy.before = func(attempt int) error {
			if attempt < 4 {
				return errors.New("down")
			}
			return nil
		}
		h := notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: policy, Report: func(err error) { reports = append(reports, fmt.Sprint(err)) }}})
		a, _ := watch(t, h, notifier.Viewer{User: "a"}, nil)
		publish(h, &notifier.Event{ID: 1, TxID: 1}, in("d", 2, 2))
		wantFrames(t, "a", a, "1", "2")
		if got := strings.Join(reports, " "); got != "down down down <nil>" {
			t.Errorf("reported %s", got)
		}
		policy.before = func(int) error { return errors.New("down") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := h.Publish(ctx, notifier.Page{Events: []*notifier.Event{in("new", 3, 3)}, Last: true})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up with %v", err)
		}
		wantFrames(t, "a", a, "1", "2")
	})
}

// Who joins while the hub waits for the policy in the middle of a page gets the
// rest of it live and the beginning from replay.
func TestHub_JoiningWhileThePolicyIsAsked(t *testing.T) {
	t.Parallel()
	policy := newRules(t, "a d", "b d")
	h := guarded(policy)
	from, until := position(t, "10:10:"), position(t, "20:20:")
	h.Start(notifier.Beginning{Position: from})
	watch(t, h, notifier.Viewer{User: "a"}, nil)
	page := notifier.Page{From: from, To: until, Last: true, Events: []*notifier.Event{
		{ID: 1, TxID: 12, Recipient: new(string)}, in("d", 11, 2), in("d", 13, 3),
	}}
	var b *recorder
	var point notifier.Point
	policy.before = func(attempt int) error {
		if attempt == 1 {
			b = &recorder{}
			s := notifier.NewSubscriber("b", ids{}, b)
			h.Join(s)
			var err error
			_, point, err = h.Subscribe(s, notifier.Viewer{User: "b"}, notifier.Filter{}, notifier.Permit{At: policy.at})
			return err
		}
		return nil
	}
	if err := h.Publish(t.Context(), page); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, "b", b, "2", "3")
	for _, e := range page.Events {
		if covered := point.Covers(e); covered != (e.ID == 1) {
			t.Errorf("event %d is owed by replay: %v", e.ID, covered)
		}
	}
}

func TestPosition_Includes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"10:20:10,14", "10:20:10,14", true}, {"10:20:10,14", "10:20:10,14,15", true}, {"10:20:10,14", "10:20:10", false},
		{"10:20:10,14", "10:14:10", true}, {"10:20:10,14", "10:15:10", false}, {"10:20:", "21:21:", false}, {"10:20:", "1:1:", true},
	} {
		p, q := position(t, c.p), position(t, c.q)
		if p.Includes(q) != c.want {
			t.Errorf("%v includes %v: %v", p, q, !c.want)
		}
	}
}
