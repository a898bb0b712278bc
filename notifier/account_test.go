package notifier_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

// register is a table of accounts that remembers whom it was asked about.
type register struct {
	mu          sync.Mutex
	generations map[string]int64
	at          notifier.Position
	asked       [][]string
	fault       error // what the next question fails with
}

func (r *register) answer(_ context.Context, users []string) (map[string]int64, notifier.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(users)
	r.asked = append(r.asked, users)
	if fault := r.fault; fault != nil {
		r.fault = nil
		return nil, notifier.Position{}, fault
	}
	found := map[string]int64{}
	for _, user := range users {
		if g, ok := r.generations[user]; ok {
			found[user] = g
		}
	}
	return found, r.at, nil
}

// withAccounts is a hub whose policy allows everything, and its accounts.
func withAccounts(t *testing.T, generations map[string]int64) (*notifier.Hub, *register) {
	t.Helper()
	r := &register{generations: generations, at: position(t, "1000:1000:")}
	return notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: newRules(t), Accounts: r.answer}}), r
}

// logIn subscribes who is logged in to an account to all that the viewer may
// see.
func logIn(t *testing.T, h *notifier.Hub, v notifier.Viewer, account notifier.Account) *recorder {
	t.Helper()
	r := &recorder{}
	s := notifier.NewSubscriber(v.User, ids{}, r)
	h.Join(s)
	if _, _, err := h.Subscribe(s, v, notifier.Filter{}, notifier.Permit{Account: &account, At: position(t, "1000:1000:")}); err != nil {
		t.Fatal(err)
	}
	return r
}

// Who is logged in to an account that has changed gets nothing of the batch that
// brings the change, nor later; whoever else the user is stays.
func TestHub_EndsWhatRestsOnAnAccount(t *testing.T) {
	t.Parallel()
	for name, changed := range map[string]*notifier.Event{
		"of the user":  change(notifier.ControlAccessChanged, "alice", "", 5, "5:5:"),
		"revoked":      change(notifier.ControlAccessRevoked, "alice", "", 5, "5:5:"),
		"granted":      change(notifier.ControlAccessGranted, "alice", "", 5, "5:5:"),
		"of all users": change(notifier.ControlAccessChanged, "", "", 5, "5:5:"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, accounts := withAccounts(t, map[string]int64{"alice": 2, "bob": 7})
			h.Start(notifier.Beginning{Position: position(t, "5:5:")})
			old := logIn(t, h, notifier.Viewer{User: "alice", Admin: true}, notifier.Account{User: "alice", Generation: 1})
			forAnother := logIn(t, h, notifier.Viewer{User: "carol", Admin: true}, notifier.Account{User: "alice", Generation: 1})
			renewed := logIn(t, h, notifier.Viewer{User: "alice"}, notifier.Account{User: "alice", Generation: 2})
			bob := logIn(t, h, notifier.Viewer{User: "bob"}, notifier.Account{User: "bob", Generation: 7})
			byToken, _ := watch(t, h, notifier.Viewer{User: "alice", Admin: true}, nil)
			accounts.fault = errors.New("the database is away")
			e := &notifier.Event{ID: 1, TxID: 5, Type: "t"}
			publishPage(t, h, notifier.Page{From: position(t, "5:5:"), To: position(t, "7:7:"), Events: []*notifier.Event{e, changed}})
			publishPage(t, h, notifier.Page{From: position(t, "7:7:"), To: position(t, "8:8:"), Events: []*notifier.Event{{ID: 2, TxID: 7, Type: "t"}}})
			wantFrames(t, "an older login", old, "logged out")
			wantFrames(t, "an admin who acts for another", forAnother, "logged out")
			wantFrames(t, "a newer login", renewed, "1", "2")
			wantFrames(t, "another user", bob, "1", "2")
			wantFrames(t, "a token of others", byToken, "1", "2")
			want := []string{"alice"}
			if changed.Recipient == nil {
				want = append(want, "bob")
			}
			if diff := cmp.Diff([][]string{want, want}, accounts.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHub_EndsWhatRestsOnNoAccountAnyMore(t *testing.T) {
	t.Parallel()
	h, _ := withAccounts(t, nil)
	h.Start(notifier.Beginning{Position: position(t, "5:5:")})
	gone := logIn(t, h, notifier.Viewer{User: "alice"}, notifier.Account{User: "alice"})
	publishPage(t, h, notifier.Page{From: position(t, "5:5:"), To: position(t, "6:6:"), Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "alice", "", 5, "5:5:"), {ID: 1, TxID: 5, Type: "t"},
	}})
	wantFrames(t, "a deleted user of generation 0", gone, "logged out")
}

// What changes access to a dataset is nothing to accounts.
func TestHub_LeavesAccountsAloneThatNothingHappenedTo(t *testing.T) {
	t.Parallel()
	h, accounts := withAccounts(t, nil)
	h.Start(notifier.Beginning{Position: position(t, "5:5:")})
	r := logIn(t, h, notifier.Viewer{User: "alice"}, notifier.Account{User: "alice", Generation: 1})
	publishPage(t, h, notifier.Page{From: position(t, "5:5:"), To: position(t, "7:7:"), Events: []*notifier.Event{
		change(notifier.ControlAccessRevoked, "alice", "d", 5, "5:5:"),
		change(notifier.ControlAccessChanged, "bob", "", 6, "6:6:"),
	}})
	if wantFrames(t, "alice", r); len(accounts.asked) > 0 {
		t.Errorf("asked about %v", accounts.asked)
	}
}

// After a break in history nobody knows what the hub has missed of accounts.
func TestHub_ChecksAccountsAfterABreak(t *testing.T) {
	t.Parallel()
	h, _ := withAccounts(t, map[string]int64{"alice": 2})
	h.Start(notifier.Beginning{Position: position(t, "5:5:")})
	r := logIn(t, h, notifier.Viewer{User: "alice"}, notifier.Account{User: "alice", Generation: 1})
	h.Start(notifier.Beginning{Position: position(t, "9:9:")})
	publishPage(t, h, notifier.Page{From: position(t, "9:9:"), To: position(t, "10:10:"), Events: []*notifier.Event{{ID: 1, TxID: 9, Type: "t"}}})
	wantFrames(t, "alice", r, "broken", "logged out")
}

// An admin's login, too, must not be older than what the hub knows of changes.
func TestHub_RefusesALoginThatMayHaveEnded(t *testing.T) {
	t.Parallel()
	h, _ := withAccounts(t, map[string]int64{"root": 1})
	h.Start(notifier.Beginning{Position: position(t, "50:50:")})
	s := notifier.NewSubscriber("root", ids{}, &recorder{})
	h.Join(s)
	permit := notifier.Permit{Account: &notifier.Account{User: "root", Generation: 1}, At: position(t, "49:49:")}
	admin := notifier.Viewer{User: "root", Admin: true}
	if _, _, err := h.Subscribe(s, admin, notifier.Filter{}, permit); !errors.Is(err, notifier.ErrStalePermit) {
		t.Errorf("checked before the hub's last change: %v", err)
	}
	permit.At = position(t, "50:50:")
	if _, _, err := h.Subscribe(s, admin, notifier.Filter{}, permit); err != nil {
		t.Errorf("checked at it: %v", err)
	}
	if _, _, err := guarded(newRules(t)).Subscribe(s, admin, notifier.Filter{}, permit); err == nil {
		t.Error("a hub that knows no accounts takes a login")
	}
}
