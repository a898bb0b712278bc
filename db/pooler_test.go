package db_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// Behind a pooler an operator may have to choose another way to run statements:
// all of what does not need a direct connection works in each.
func TestPool_EveryWayToRunStatements(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t)
			conn := dbtest.Connect(t, url)
			d := open(t, db.Config{URL: url + "&default_query_exec_mode=" + mode, ListenURL: url, Retention: time.Hour})
			l := follow(t, d)
			list := events("a", "b")
			list[0].Recipient, list[0].Payload = new("me"), []byte(`{"a":"\u0000'"}`)
			list[1].Recipient, list[1].CreatedAt = new("me"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			p := notifier.Publication{Events: list, IdempotencyKey: "1", EventKeys: []string{"", "2"}}
			publish(t, d, p)
			publish(t, d, p)
			if err := d.DropUser(t.Context(), "me", ""); err != nil {
				t.Errorf("drop user: %v", err)
			}
			l.waitFor(t, 3)
			if got := fmt.Sprint(replay(t, d, "me", time.Time{}, l.Point())); got != "[b a]" {
				t.Errorf("replayed %s", got)
			}
			if got := fmt.Sprint(replay(t, d, "me", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), l.Point())); got != "[a]" {
				t.Errorf("replayed since a time %s", got)
			}
			if _, err := d.SchemaVersion(t.Context()); err != nil {
				t.Errorf("schema version: %v", err)
			}
			backdate(t, conn, `2 hours`)
			if removed := retain(t, d); removed != 3 {
				t.Errorf("removed %d", removed)
			}
		})
	}
}
