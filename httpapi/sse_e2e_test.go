package httpapi_test

import (
	"fmt"
	"testing"

	"example.com/notifier/db/dbtest"
)

// A stream is cut off and goes on, on another instance too, from an event, from
// behind a replay by time, and from the state that a page was made of.
func TestSSE_GoesOnOverADatabase(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	next := 0
	insert := func(n int) (keys []string) {
		t.Helper()
		exec(t, conn, `INSERT INTO notifier.events (type, key, payload) SELECT 't', i::text, E'{\n"a" :\n1}' FROM generate_series($1::int, $2::int) AS i`, next, next+n-1)
		for range n {
			keys = append(keys, fmt.Sprint(next))
			next++
		}
		return keys
	}
	before := insert(3)
	s := instance(t, url)
	es := s.stream("/events?topic=t.*.*&topic=*.*.1&since=2020-01-01T00:00:00Z", resumed)
	es.expectKeys(before...)
	if b := es.next(); b != (block{id: b.id}) || b.id == "" {
		t.Errorf("behind the replay comes %+v, not a cursor", b)
	}
	behindReplay := es.lastID
	live := insert(2)
	if e, b := es.event(); e.Key != live[0] || string(e.Payload) != `{ "a" : 1}` || b.id == "" {
		t.Errorf("live: %+v", b)
	}
	inBatch := es.lastID
	es.close()

	var position string
	if err := conn.QueryRow(t.Context(), `SELECT notifier.position()`).Scan(&position); err != nil {
		t.Fatal(err)
	}
	missed := insert(1000)
	other := instance(t, url)
	for name, from := range map[string]struct {
		cursor string
		keys   []string
	}{
		"from behind the replay":   {behindReplay, append(append([]string{}, live...), missed...)},
		"from inside a batch":      {inBatch, append(append([]string{}, live[1:]...), missed...)},
		"from the page's position": {position, missed},
	} {
		for _, s := range []*system{s, other} {
			es := s.stream("/events?topic=t.*.*", replayed(len(from.keys)), "Last-Event-ID: "+from.cursor)
			es.expectKeys(from.keys...)
			es.close()
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
	es = s.stream("/events?topic=t.*.*&cursor="+position, replayed(len(missed)))
	es.expectKeys(missed...)
	es.expectKeys(insert(1)...)
	last := es.lastID
	es.close()
	exec(t, conn, `DELETE FROM notifier.events`) // as if the log had been set back
	lost := other.stream("/events?topic=t.*.*", gap, "Last-Event-ID: "+last)
	if lost.lastID == last || lost.lastID == "" {
		t.Error("who has a gap gets no new cursor")
	}
	lost.expectKeys(insert(1)...)
}
