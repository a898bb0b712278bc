package testcontainers_test

import (
	"testing"

	"example.com/notifier/testcontainers"
	"github.com/jackc/pgx/v5"
)

// plain are clients of the kind, one of each protocol that is older than notifier.
func plain(t *testing.T, c testcontainers.Clients, user string) map[string]*testcontainers.Subscriber {
	t.Helper()
	return map[string]*testcontainers.Subscriber{
		"ernius": c.Ernius(t, user),
		"airlay": c.Airlay(t, user, "order/10", "order/11", "order/12"),
		"drp":    c.DRP(t, user, "order.*.*"),
		"sysadm": c.Sysadm(t, user, "order"),
	}
}

func TestWithoutCursors_WhatIsMissedDoesNotComeButByErnius(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	total := func(n int) testcontainers.Want {
		return testcontainers.Want{Type: "order", Payload: testcontainers.Containing(map[string]int{"total": n})}
	}
	all := plain(t, n.WithoutCursors(), "ann")
	n.Exec(order, 10, "ann", nil, 1)
	for _, s := range all {
		s.Expect(total(1))
		s.Disconnect()
	}
	witness := n.DRP(t, "ann", "order.*.*")
	n.Exec(order, 11, "ann", nil, 2)
	witness.Expect(total(2)) // what notifier has not read yet would come live
	for name, s := range all {
		if v := s.Resume(); v != (testcontainers.Verdict{}) {
			t.Errorf("%s: verdict %+v", name, v)
		}
	}
	n.Exec(order, 12, "ann", nil, 3)
	for name, s := range all {
		wants := []testcontainers.Want{total(3)}
		if name == "ernius" { // as the real page: it names its time again
			wants = []testcontainers.Want{total(1), total(2), total(3)}
		}
		s.Expect(wants...)
		if t.Failed() {
			t.Fatalf("by %s", name)
		}
		for _, e := range s.Events() {
			if e.Cursor != "" {
				t.Errorf("%s: an event with a cursor: %+v", name, e)
			}
		}
		if more := s.Notices(); len(more) > 0 {
			t.Errorf("%s: told more than a real client is: %s", name, more)
		}
	}
}

// An ernius client that remembers what it saw last names that time.
func TestWithoutCursors_ErniusFromATime(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	n.Exec(`INSERT INTO notifier.events (type, recipient, payload, created_at)
		SELECT 'order', 'ann', to_json(g), to_timestamp(1000 + g) FROM generate_series(1, 3) g`)
	first := n.WithoutCursors().Ernius(t, "ann")
	first.ExpectNothing()
	first.Since = first.Since.AddDate(-80, 0, 0)
	first.Resume()
	is := func(n int) testcontainers.Want { return testcontainers.Want{Payload: testcontainers.Equal(n)} }
	first.Expect(is(1), is(2), is(3))
	first.Since = first.Events()[1].CreatedAt
	first.Resume()
	first.Expect(is(2), is(3))
}

// A subscription counts although other transactions are open meanwhile.
func TestWithoutCursors_OrderedByVisibility(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	held := n.Hold(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), order, 10, "ann", nil, 1)
		return err
	})
	all := plain(t, n.WithoutCursors(), "ann")
	n.Exec(order, 11, "ann", nil, 2)
	for _, s := range all {
		s.Expect(testcontainers.Want{Payload: testcontainers.Containing(`{"id": 11}`)})
	}
	held.Commit()
	for _, s := range all {
		s.Expect(testcontainers.Want{Payload: testcontainers.Containing(`{"id": 10}`)})
	}
}

// Sysadm's real server sends the newest event of some types to who subscribes.
func TestWithoutCursors_SysadmBeginsWithTheNewest(t *testing.T) {
	t.Parallel()
	n := shop.Start(t, testcontainers.Setting("NOTIFIER_SYSADM_LATEST", "order"))
	n.User("ann")
	n.Exec(order, 10, "ann", nil, 1)
	n.Exec(order, 11, "ann", nil, 2)
	newest := testcontainers.Want{Type: "order", Payload: testcontainers.Containing(`{"id": 11}`)}
	ann := n.WithoutCursors().Sysadm(t, "ann", "order")
	ann.Expect(newest)
	ann.Resume()
	ann.Expect(newest)
}

func TestWithoutToken_WhereNotifierIsAnonymous(t *testing.T) {
	t.Parallel()
	n := shop.Start(t, testcontainers.Setting("NOTIFIER_ANONYMOUS", "true"))
	of := map[string]testcontainers.Clients{
		"with cursors": n.WithoutToken(), "without cursors": n.WithoutCursors().WithoutToken(),
	}
	var all []*testcontainers.Subscriber
	for _, c := range of {
		for _, s := range plain(t, c, "passer-by") {
			all = append(all, s)
		}
	}
	all = append(all, n.WithoutToken().SSE(t, "", "order.*.*"))
	n.Exec(order, 10, "passer-by", nil, 1)
	for _, s := range all {
		s.Expect(testcontainers.Want{Payload: testcontainers.Containing(`{"id": 10}`)})
	}
}

func TestWithoutToken_ElsewhereNobodyIsLetIn(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	for _, protocol := range []testcontainers.Protocol{
		testcontainers.Ernius, testcontainers.Airlay, testcontainers.DRP, testcontainers.Sysadm, testcontainers.SSE,
	} {
		s := testcontainers.Subscription{Protocol: protocol, User: "ann", WithoutToken: true}
		if one, err := n.Subscribe(t, s); err == nil {
			t.Errorf("subscribed: %v", one.Subscription)
		}
		s.WithoutCursors = true
		if one, err := n.Subscribe(t, s); err == nil {
			t.Errorf("subscribed: %v", one.Subscription)
		}
	}
}
