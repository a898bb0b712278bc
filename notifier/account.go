package notifier

import (
	"context"
	"maps"
	"slices"
)

// Account is what a client logged in to: a user of its own tables, as it was
// then.
type Account struct {
	User string
	// Generation grows when the account changes so that those who are logged in
	// to it must be no longer; see [Credentials].
	Generation int64
}

// restLocked notes that a subscription rests on an account.
func (h *Hub) restLocked(sub *Subscription) {
	if sub.permit.Account == nil {
		return
	}
	user := sub.permit.Account.User
	if h.accounts[user] == nil {
		h.accounts[user] = make(map[*Subscription]struct{}, 1)
	}
	h.accounts[user][sub] = struct{}{}
}

func (h *Hub) unrestLocked(sub *Subscription) {
	if sub.permit.Account == nil {
		return
	}
	user := sub.permit.Account.User
	delete(h.accounts[user], sub)
	if len(h.accounts[user]) == 0 {
		delete(h.accounts, user)
	}
}

// shakenLocked returns the subscriptions whose accounts may have ended. What a
// change grants or revokes does not matter: a user who is disabled and enabled
// again in one transaction is at another generation. Of an account nothing
// depends on a dataset.
func (h *Hub) shakenLocked(all []change) []*Subscription {
	if len(h.accounts) == 0 {
		return nil
	}
	users := make(map[string]bool)
	everybody := h.restarted
	for _, c := range all {
		switch {
		case c.dataset != nil:
		case c.user == nil:
			everybody = true
		default:
			users[*c.user] = true
		}
	}
	var shaken []*Subscription
	if everybody {
		for _, subs := range h.accounts {
			shaken = slices.AppendSeq(shaken, maps.Keys(subs))
		}
		return shaken
	}
	for user := range users {
		shaken = slices.AppendSeq(shaken, maps.Keys(h.accounts[user]))
	}
	return shaken
}

// recheckAccounts ends the subscriptions whose accounts are not what they were,
// before any event of the batch is delivered.
func (h *Hub) recheckAccounts(ctx context.Context, shaken []*Subscription) error {
	users := make(map[string]bool)
	for _, sub := range shaken {
		users[sub.permit.Account.User] = true
	}
	generations, at, err := h.access.Accounts(ctx, slices.Collect(maps.Keys(users)))
	if err != nil {
		return err
	}
	var lost []*Subscription
	h.mu.Lock()
	if !at.Includes(h.floor) {
		h.mu.Unlock()
		return errStalePolicy
	}
	for _, sub := range shaken {
		generation, ok := generations[sub.permit.Account.User]
		if (!ok || generation != sub.permit.Account.Generation) && h.unsubscribeLocked(sub) {
			lost = append(lost, sub)
		}
	}
	h.mu.Unlock()
	revoke(lost, LostAccount)
	return nil
}
