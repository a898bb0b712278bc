package seamtest

import (
	"slices"
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// Event is what was committed.
type Event struct {
	ID        int64
	Type, Key string
	Token     string // its payload, of which there is no second
}

// object is what the event's order is kept for: the key, or of what was pushed, which
// has none, who pushed it, one after the other.
func (e Event) object() string {
	if e.Key == "" {
		pusher, _, _ := strings.Cut(e.Token, " ")
		return pusher
	}
	return e.Key
}

// Committed returns the events for reader.
func Committed(t testing.TB, url string) []Event {
	t.Helper()
	rows, err := dbtest.Connect(t, url).Query(t.Context(), `SELECT id, type, key, payload::text FROM notifier.events
		WHERE recipient = 'reader' AND control IS NULL ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
		return e, row.Scan(&e.ID, &e.Type, &e.Key, &e.Token)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Owed returns what the client should have had, by token.
func (c *Client) Owed(all []Event) map[string]Event {
	owed := map[string]Event{}
	for _, e := range all {
		if wants(c.Topics, e) {
			owed[e.Token] = e
		}
	}
	return owed
}

func wants(topics []string, e Event) bool {
	return len(topics) == 0 || slices.ContainsFunc(topics, func(topic string) bool {
		switch topic {
		case e.Type, e.Type + " " + e.Key, e.Type + ".*.*", "*.*.*":
			return true
		case "loud.save.1,2,3":
			return e.Type == "loud" && slices.Contains([]string{"1", "2", "3"}, e.Key)
		case "*.*.3,4,5":
			return slices.Contains([]string{"3", "4", "5"}, e.Key)
		}
		return false
	})
}

// Check compares what the client has had with what was committed: each event once,
// no other, and each object's in their order.
func (c *Client) Check(t testing.TB, all []Event) {
	t.Helper()
	missing := c.Owed(all)
	last := map[string]int64{}
	for _, token := range c.had {
		e, ok := missing[token]
		if !ok {
			t.Errorf("%v: %s came twice, or is none of its", c, token)
			continue
		}
		delete(missing, token)
		if e.ID < last[e.object()] {
			t.Errorf("%v: event %d of %s came after %d", c, e.ID, e.object(), last[e.object()])
		}
		last[e.object()] = e.ID
	}
	for _, e := range missing {
		t.Errorf("%v: event %d of %s %s is missing", c, e.ID, e.Type, e.Key)
	}
}
