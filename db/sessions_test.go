package db_test

import (
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// The latest end counts, of the account as it is, and only that long.
func TestSessions(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d, other := open(t, db.Config{URL: asServer(url)}), open(t, db.Config{URL: asServer(url)})
	must(t, d.CreateUser(t.Context(), "alice", "hash", nil, ""))
	c, _ := credentials(t, d, "alice")
	first := notifier.Account{User: "alice", Generation: c.Generation}
	now := time.Now().Truncate(time.Second)
	ends := func(what string, account notifier.Account, want time.Time) {
		t.Helper()
		if got, err := other.SessionEnd(t.Context(), account); err != nil || !got.Equal(want) {
			t.Errorf("%s: it ends at %v, not %v: %v", what, got, want, err)
		}
	}
	extend := func(account notifier.Account, after time.Duration) {
		t.Helper()
		must(t, d.ExtendSession(t.Context(), account, now.Add(after)))
	}
	ends("without any", first, time.Time{})
	extend(first, time.Hour)
	ends("the first", first, now.Add(time.Hour))
	extend(first, time.Minute)
	ends("an earlier end", first, now.Add(time.Hour))
	extend(first, 2*time.Hour)
	ends("a later end", first, now.Add(2*time.Hour))

	must(t, d.SetPassword(t.Context(), "alice", "new", ""))
	c, _ = credentials(t, d, "alice")
	second := notifier.Account{User: "alice", Generation: c.Generation}
	ends("of the older password", first, time.Time{})
	ends("of the new password, yet without any", second, time.Time{})
	extend(second, time.Minute)
	extend(first, 3*time.Hour) // by who was slow
	ends("of the new password", second, now.Add(time.Minute))
	ends("of the older password, still", first, time.Time{})

	must(t, d.SetDisabled(t.Context(), "alice", true, ""))
	ends("while disabled", second, time.Time{})
	ends("of nobody", notifier.Account{User: "bob", Generation: 1}, time.Time{})

	extend(notifier.Account{User: "gone"}, -2*time.Hour)
	extend(notifier.Account{User: "just gone"}, -time.Minute)
	if _, err := d.RetainOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := conn.QueryRow(t.Context(), "SELECT array_agg(user_id ORDER BY user_id) FROM notifier.sessions").Scan(&left); err != nil || len(left) != 2 || left[1] != "just gone" {
		t.Errorf("left are %q: %v", left, err)
	}
}
