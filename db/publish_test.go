package db_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

func publish(t *testing.T, d *db.DB, p notifier.Publication) {
	t.Helper()
	if err := d.Publish(t.Context(), p); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// events makes one event of each key.
func events(keys ...string) []notifier.Event {
	list := make([]notifier.Event, len(keys))
	for i, key := range keys {
		list[i].Key = key
	}
	return list
}

func TestPublish_RoundTrip(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		d := open(t, c)
		l := follow(t, d)
		user, dataset, empty := "user", "dataset", ""
		sent := []notifier.Event{
			{CreatedAt: notifier.MinTime, Type: "t", Action: "a", Key: "k", Recipient: &user, DatasetID: &dataset,
				Principal: "p", Payload: []byte(`{"b": 1,  "a":"\u0000é"}`), Original: []byte(` [1, 1]`)},
			{CreatedAt: notifier.MaxTime, Recipient: &empty, DatasetID: &empty, Payload: []byte(`null`)},
			{CreatedAt: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)},
			{CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
			{CreatedAt: time.Unix(-1, 999_999_000)},
		}
		publish(t, d, notifier.Publication{Events: sent, Principal: "whoever publishes"})
		l.waitFor(t, len(sent))
		for i, got := range l.seen() {
			want := sent[i]
			want.ID, want.TxID, want.CreatedAt = got.ID, got.TxID, want.CreatedAt.UTC()
			if fmt.Sprintf("%+v", readable(*got)) != fmt.Sprintf("%+v", readable(want)) {
				t.Errorf("event %d came as\n%+v, want\n%+v", i, readable(*got), readable(want))
			}
		}
	})
}

// bare leaves out where in the log an event was read.
func bare(e notifier.Event) notifier.Event {
	return notifier.Event{
		ID: e.ID, TxID: e.TxID, CreatedAt: e.CreatedAt, Type: e.Type, Action: e.Action, Key: e.Key,
		Recipient: e.Recipient, DatasetID: e.DatasetID, Principal: e.Principal, Payload: e.Payload, Original: e.Original,
	}
}

// readable replaces the pointers of an event by what they point to.
func readable(e notifier.Event) any {
	e = bare(e)
	text := func(s *string) string {
		if s == nil {
			return "none"
		}
		return "'" + *s + "'"
	}
	recipient, dataset := text(e.Recipient), text(e.DatasetID)
	payload, original := string(e.Payload), string(e.Original)
	// A copy, as the hub has noted in the event where it was published.
	e = notifier.Event{
		ID: e.ID, TxID: e.TxID, CreatedAt: e.CreatedAt, Type: e.Type, Action: e.Action, Key: e.Key,
		Principal: e.Principal, Unordered: e.Unordered, Control: e.Control,
	}
	return []any{e, recipient, dataset, payload, original}
}

func TestPublish_WithoutTimeIsNow(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	publish(t, open(t, db.Config{URL: url}), notifier.Publication{Events: events("a", "b")})
	if n := scalar[int](t, conn, `SELECT count(*) FROM notifier.events
		WHERE created_at BETWEEN now() - interval '1 minute' AND now()`); n != 2 {
		t.Errorf("%d of 2 events were created just now", n)
	}
}

func TestPublish_IDsKeepTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	var keys []string
	for i := range 20_000 {
		keys = append(keys, fmt.Sprint((i*7919)%20_000))
	}
	eventKeys := make([]string, len(keys))
	copy(eventKeys, keys[:len(keys)/2])
	publish(t, open(t, db.Config{URL: url}), notifier.Publication{Events: events(keys...), EventKeys: eventKeys})
	got := column[string](t, conn, `SELECT key FROM notifier.events ORDER BY id`)
	if strings.Join(got, ",") != strings.Join(keys, ",") {
		t.Errorf("%d events are stored in another order than that of the list of %d", len(got), len(keys))
	}
	if n := scalar[int](t, conn, `SELECT count(DISTINCT txid) FROM notifier.events`); n != 1 {
		t.Errorf("they were stored in %d transactions", n)
	}
}

// A key is known or it is not; each step says what is stored after it.
func TestPublish_Idempotency(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	steps := []struct {
		name   string
		p      notifier.Publication
		stored string
	}{
		{"a list", notifier.Publication{Events: events("a", "b"), IdempotencyKey: "1"}, "a b"},
		{"again", notifier.Publication{Events: events("a", "b"), IdempotencyKey: "1"}, ""},
		{"another list of that key", notifier.Publication{Events: events("x"), IdempotencyKey: "1"}, ""},
		{"another principal", notifier.Publication{Events: events("a"), IdempotencyKey: "1", Principal: "p"}, "a"},
		{"another key", notifier.Publication{Events: events("a"), IdempotencyKey: "2"}, "a"},
		{"no key", notifier.Publication{Events: events("a")}, "a"},
		{"event keys", notifier.Publication{Events: events("c", "d", "e"), EventKeys: []string{"3", "4", ""}}, "c d e"},
		{"some known", notifier.Publication{Events: events("c", "f", "e"), EventKeys: []string{"3", "5", ""}}, "f e"},
		{"all known", notifier.Publication{Events: events("c", "d"), EventKeys: []string{"3", "4"}}, ""},
		{"the first of a repeated key counts", notifier.Publication{Events: events("g", "h", "i"), EventKeys: []string{"6", "7", "6"}}, "g h"},
		{"keys of events are not keys of lists", notifier.Publication{Events: events("j"), IdempotencyKey: "3", EventKeys: []string{"1"}}, "j"},
		{"a known list uses up no event key", notifier.Publication{Events: events("k"), IdempotencyKey: "3", EventKeys: []string{"8"}}, ""},
		{"so the event can still come", notifier.Publication{Events: events("k"), EventKeys: []string{"8"}}, "k"},
		{"event keys of another principal", notifier.Publication{Events: events("k"), EventKeys: []string{"8"}, Principal: "p"}, "k"},
		{"nothing", notifier.Publication{IdempotencyKey: "9"}, ""},
		{"leaves its key", notifier.Publication{Events: events("l"), IdempotencyKey: "9"}, "l"},
	}
	var after int64
	for _, step := range steps {
		publish(t, d, step.p)
		got := column[string](t, conn, `SELECT key FROM notifier.events WHERE id > $1 ORDER BY id`, after)
		if strings.Join(got, " ") != step.stored {
			t.Errorf("%s: stored %q, want %q", step.name, got, step.stored)
		}
		after = scalar[int64](t, conn, `SELECT coalesce(max(id), 0) FROM notifier.events`)
	}
}

func TestPublish_KeysMustFitTheEvents(t *testing.T) {
	t.Parallel()
	d := open(t, db.Config{URL: dbtest.New(t)})
	if d.Publish(t.Context(), notifier.Publication{Events: events("a", "b"), EventKeys: []string{"1"}}) == nil {
		t.Error("one key for two events is accepted")
	}
}

// A client that has no answer yet may repeat its push: the copies run at once.
func TestPublish_IdenticalAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	for round := range 20 {
		list := notifier.Publication{Events: events("a", "b"), IdempotencyKey: fmt.Sprint("list", round)}
		single := notifier.Publication{Events: events("c", "d", "e"), EventKeys: []string{
			fmt.Sprint(round, "c"), fmt.Sprint(round, "d"), fmt.Sprint(round, "e")}}
		reversed := notifier.Publication{Events: events("e", "d", "c"), EventKeys: []string{
			fmt.Sprint(round, "e"), fmt.Sprint(round, "d"), fmt.Sprint(round, "c")}}
		var pushes sync.WaitGroup
		for range 3 {
			for _, p := range []notifier.Publication{list, single, reversed} {
				pushes.Go(func() { // ends with its push
					if err := d.Publish(t.Context(), p); err != nil {
						t.Errorf("publish: %v", err)
					}
				})
			}
		}
		pushes.Wait()
	}
	got := column[string](t, conn, `SELECT key || count(*) FROM notifier.events GROUP BY key ORDER BY key`)
	if fmt.Sprint(got) != "[a20 b20 c20 d20 e20]" {
		t.Errorf("20 rounds of pushes, each several times at once, stored %s", got)
	}
}

// While a push is under way, its copy waits to learn how it ends: after a
// rollback it must store the events itself.
func TestPublish_CopyTakesOverAfterRollback(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, first := dbtest.Connect(t, url), dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	exec(t, first, `BEGIN`)
	exec(t, first, `INSERT INTO notifier.idempotency_keys (key) VALUES ('list 1'), ('event 2')`)
	var pushes sync.WaitGroup
	for _, p := range []notifier.Publication{
		{Events: events("a"), IdempotencyKey: "1"},
		{Events: events("b"), EventKeys: []string{"2"}},
	} {
		pushes.Go(func() { // ends with its push
			if err := d.Publish(t.Context(), p); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
	}
	awaitBlocked(t, conn, 2)
	exec(t, first, `ROLLBACK`)
	pushes.Wait()
	if got := fmt.Sprint(column[string](t, conn, `SELECT key FROM notifier.events ORDER BY key`)); got != "[a b]" {
		t.Errorf("stored %s", got)
	}
}

// awaitBlocked waits until that many of our statements wait for another
// transaction.
func awaitBlocked(t *testing.T, conn *pgx.Conn, count int) {
	t.Helper()
	dbtest.Eventually(t, fmt.Sprintf("%d statements wait for a lock", count), func() bool {
		return scalar[int](t, conn, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'notifier' AND wait_event_type = 'Lock'`) == count
	})
}

func TestPublish_Unstorable(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	text := func(s string) *string { return &s }
	payload := func(s string) notifier.Event { return notifier.Event{Payload: []byte(s)} }
	for name, bad := range map[string]notifier.Event{
		"NUL in the key":               {Key: "a\x00b"},
		"NUL in the recipient":         {Recipient: text("\x00")},
		"NUL in the payload":           payload("\"\x00\""),
		"invalid UTF-8 in the type":    {Type: "\xff"},
		"invalid UTF-8 in the payload": payload("\"\xc3\x28\""),
		"half a surrogate in UTF-8":    {Key: "\xed\xa0\x80"},
		"payload no JSON":              payload("{"),
		"payload only blanks":          payload(" "),
		"payload two values":           payload("1 2"),
		"payload ends early":           payload(`{"a":[1,2`),
		"original no JSON":             {Original: []byte("x")},
		"payload too deep":             payload(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)),
	} {
		list := append(events("good"), bad, notifier.Event{Key: "good"})
		err := d.Publish(t.Context(), notifier.Publication{Events: list, IdempotencyKey: "key", EventKeys: []string{"1", "2", "3"}})
		if !errors.Is(err, notifier.ErrUnstorable) || errors.Is(err, notifier.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]notifier.Publication{
		"NUL in the list's key":   {Events: events("a"), IdempotencyKey: "\x00"},
		"NUL in an event's key":   {Events: events("a"), EventKeys: []string{"\x00"}},
		"NUL in the principal":    {Events: events("a"), Principal: "\x00", IdempotencyKey: "1"},
		"a key beyond an index":   {Events: events("a"), IdempotencyKey: incompressible()},
		"time before all history": {Events: []notifier.Event{{CreatedAt: notifier.MinTime.Add(-time.Second)}}},
		"time after all history":  {Events: []notifier.Event{{CreatedAt: notifier.MaxTime.Add(time.Second)}}},
	} {
		if err := d.Publish(t.Context(), p); !errors.Is(err, notifier.ErrUnstorable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := scalar[int](t, conn, `SELECT (SELECT count(*) FROM notifier.events) + (SELECT count(*) FROM notifier.idempotency_keys)`); n != 0 {
		t.Errorf("%d rows were stored", n)
	}
	publish(t, d, notifier.Publication{Events: events("good"), IdempotencyKey: "key", EventKeys: []string{"1"}})
}

// incompressible is longer than any key of an index may be.
func incompressible() string {
	long := make([]byte, 9000)
	for i := range long {
		long[i] = byte('a' + (i*i/7+i/3+i*i*i/11)%26)
	}
	return string(long)
}

// A recipient may be longer than what an index takes.
func TestPublish_LongRecipients(t *testing.T) {
	t.Parallel()
	d := open(t, db.Config{URL: dbtest.New(t)})
	l := follow(t, d)
	a, b := incompressible()+"a", incompressible()+"b"
	publish(t, d, notifier.Publication{Events: []notifier.Event{{Key: "a", Recipient: &a}, {Key: "b", Recipient: &b}}})
	l.waitFor(t, 2)
	if got := fmt.Sprint(replay(t, d, a, time.Time{}, l.Point()), replay(t, d, b, time.Time{}, l.Point())); got != "[a] [b]" {
		t.Errorf("replayed %s", got)
	}
}

// What may pass must not be taken for what the client should mend.
func TestPublish_TransientErrors(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	proxy := dbtest.NewProxy(t, url)
	d := open(t, db.Config{URL: proxy.URL()})
	check := func(name string) {
		t.Helper()
		err := d.Publish(t.Context(), notifier.Publication{Events: events("a")})
		if err == nil || errors.Is(err, notifier.ErrUnstorable) || errors.Is(err, notifier.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	exec(t, conn, `ALTER TABLE notifier.events RENAME TO away`)
	check("no table")
	exec(t, conn, `ALTER TABLE notifier.away RENAME TO events`)
	proxy.Refuse()
	proxy.Cut()
	check("no server")
	proxy.Accept()
	publish(t, d, notifier.Publication{Events: events("a")})
}

func TestDropUser_ReachesTheHub(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		d := open(t, c)
		l := follow(t, d)
		if err := d.DropUser(t.Context(), "someone", "an admin"); err != nil {
			t.Fatal(err)
		}
		l.waitFor(t, 1)
		if e := l.seen()[0]; e.Control != notifier.ControlDropUser || *e.Recipient != "someone" || e.Principal != "an admin" {
			t.Errorf("came %+v", e)
		}
		if err := d.DropUser(t.Context(), "\x00", ""); !errors.Is(err, notifier.ErrUnstorable) {
			t.Errorf("a user that can't be stored: %v", err)
		}
		since := notifier.Filter{Recipient: new("someone")}
		err := d.Replay(t.Context(), []notifier.Filter{since}, l.Point(), func(events []*notifier.Event) error {
			t.Errorf("a replay returns %d control rows", len(events))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Postgres counts a session as idle until it has the whole of a statement: a list that
// is long on its way is not cut off, and one that is written does not hold others up.
func TestPublish_IdleWhileAListIsOnItsWay(t *testing.T) {
	t.Parallel()
	c := db.Config{URL: dbtest.New(t)}
	conn := dbtest.Connect(t, c.URL)
	d := open(t, c)
	exec(t, conn, `CREATE TABLE public.idle (point text, setting text)`)
	for point, trigger := range map[string]string{"sent": "TRIGGER sent BEFORE INSERT", "written": "CONSTRAINT TRIGGER written AFTER INSERT"} {
		exec(t, conn, `CREATE FUNCTION public.`+point+`() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				INSERT INTO public.idle VALUES ('`+point+`', current_setting('idle_in_transaction_session_timeout'));
				RETURN NEW;
			END $$`)
		deferred := ""
		if point == "written" {
			deferred = " DEFERRABLE INITIALLY DEFERRED"
		}
		exec(t, conn, `CREATE `+trigger+` ON notifier.events`+deferred+` FOR EACH ROW EXECUTE FUNCTION public.`+point+`()`)
	}
	if err := d.Publish(t.Context(), notifier.Publication{Events: []notifier.Event{{Type: "t"}}}); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(column[string](t, conn, `SELECT point || ' ' || setting FROM public.idle ORDER BY point`))
	if want := "[sent 1min written 5s]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
