package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// asServer is a database's URL for a session with the server's rights only.
func asServer(url string) string {
	if strings.Contains(url, "?") {
		return url + "&role=notifier_server"
	}
	return url + "?role=notifier_server"
}

// in is a question about a dataset, "" for none.
func in(user, dataset string) notifier.Question {
	return notifier.Question{User: user, Type: "t", Dataset: dataset, HasDataset: dataset != ""}
}

func mustAsk(t *testing.T, d *db.DB, questions ...notifier.Question) ([]bool, notifier.Position) {
	t.Helper()
	allowed, at, err := d.Ask(t.Context(), questions)
	if err != nil {
		t.Fatal(err)
	}
	return allowed, at
}

func mustAdmit(t *testing.T, d *db.DB, user, eventType, key string) notifier.Admission {
	t.Helper()
	a, err := d.Admit(t.Context(), user, eventType, key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const someAccess = `
	INSERT INTO notifier.users (user_id) VALUES ('alice'), ('bob');
	INSERT INTO notifier.users (user_id, disabled) VALUES ('carol', true);
	INSERT INTO notifier.dataset_permissions VALUES ('alice', 'd'), ('carol', 'd'), ('nobody', 'd')`

func TestAsk_Defaults(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	exec(t, dbtest.Connect(t, url), someAccess)
	cases := []struct {
		question notifier.Question
		want     bool
	}{
		{in("alice", "d"), true},
		{in("alice", "e"), false},
		{in("alice", ""), true},
		{in("bob", "d"), false},
		{in("bob", ""), true},
		{in("carol", "d"), false}, // disabled
		{in("carol", ""), false},
		{in("nobody", "d"), false}, // a permission makes no user
		{in("nobody", ""), false},
		{in("", ""), false},
		{notifier.Question{User: "alice", Type: "t", HasDataset: true}, false}, // a dataset called "" is one too
		{in("alice", "d"), true},      // asked again, in the same statement
		{in("ali\x00ce", "d"), false}, // what Postgres can't hold must not spoil the rest
		{in("alice", "\xff"), false},
		{notifier.Question{User: "alice", Type: "t\x00"}, false},
		{in("Alice", ""), false},
		{in(`alice"'\{},`, ""), false},
		{in("alice", "d"), true},
	}
	var questions []notifier.Question
	for _, c := range cases {
		questions = append(questions, c.question)
	}
	allowed, _ := mustAsk(t, open(t, db.Config{URL: asServer(url)}), questions...)
	for i, c := range cases {
		if allowed[i] != c.want {
			t.Errorf("%+v: %v, want %v", c.question, allowed[i], c.want)
		}
	}
}

func TestAsk_MoreQuestionsThanOneStatementTakes(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.users (user_id) VALUES ('a')`)
	exec(t, conn, `INSERT INTO notifier.dataset_permissions SELECT 'a', 'd' || i FROM generate_series(0, 21000, 3) i`)
	var questions []notifier.Question
	for i := range 21_000 {
		questions = append(questions, in("a", fmt.Sprint("d", i)))
	}
	allowed, _ := mustAsk(t, open(t, db.Config{URL: url}), questions...)
	for i, a := range allowed {
		if a != (i%3 == 0) {
			t.Fatalf("question %d: %v", i, a)
		}
	}
}

func TestAsk_SaysAsOfWhen(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, other := dbtest.Connect(t, url), dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	const note = `INSERT INTO notifier.events (type) VALUES ('e') RETURNING txid`
	exec(t, other, `BEGIN`)
	running := scalar[uint64](t, other, note)
	before := scalar[uint64](t, conn, note)
	for _, questions := range [][]notifier.Question{nil, {in("a\x00", "")}, {in("a", "d")}} {
		_, at := mustAsk(t, d, questions...)
		if !at.Ended(before) || at.Ended(running) {
			t.Errorf("%d questions: asked as of %v, with %d ended and %d not", len(questions), at, before, running)
		}
	}
	if at := mustAdmit(t, d, "a", "t", "k").At; !at.Ended(before) || at.Ended(running) {
		t.Errorf("admitted as of %v, with %d ended and %d not", at, before, running)
	}
}

func TestAdmit_Defaults(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	exec(t, dbtest.Connect(t, url), someAccess)
	d := open(t, db.Config{URL: asServer(url)})
	dataset := func(id string) *string { return &id }
	for _, c := range []struct {
		user, eventType, key string
		want                 notifier.Admission
	}{
		{"alice", "datasetUpdate", "d", notifier.Admission{Exists: true, Dataset: dataset("d"), MayRead: true}},
		{"alice", "uploadFile", "d", notifier.Admission{Exists: true, Dataset: dataset("d"), MayRead: true}},
		{"alice", "datasetUpdate", "e", notifier.Admission{Exists: true, Dataset: dataset("e")}},
		{"bob", "datasetUpdate", "d", notifier.Admission{Exists: true, Dataset: dataset("d")}},
		{"bob", "issueUpdate", "i", notifier.Admission{Exists: true, MayRead: true}},
		{"bob", "notification", "", notifier.Admission{Exists: true, MayRead: true}},
		{"carol", "issueUpdate", "i", notifier.Admission{}},
		{"nobody", "datasetUpdate", "d", notifier.Admission{Dataset: dataset("d")}},
		{"alice", "datasetUpdate", "d\x00", notifier.Admission{Exists: true}},
		{"alice", "data\xff", "d", notifier.Admission{Exists: true}},
		{"alice\x00", "datasetUpdate", "d", notifier.Admission{}},
	} {
		got := mustAdmit(t, d, c.user, c.eventType, c.key)
		got.At = notifier.Position{}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(notifier.Position{})); diff != "" {
			t.Errorf("%q %q %q (-want +got):\n%s", c.user, c.eventType, c.key, diff)
		}
	}
}

// replaceMayRead has the policy answer with an expression.
func replaceMayRead(t *testing.T, conn *pgx.Conn, attributes, expression string) {
	t.Helper()
	exec(t, conn, `CREATE OR REPLACE FUNCTION notifier.may_read(user_id text, type text, dataset_id text)
		RETURNS boolean `+attributes+` AS $$ `+expression+` $$`)
}

func TestAsk_NullIsNo(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	d := open(t, db.Config{URL: url})
	replaceMayRead(t, conn, `LANGUAGE sql`, `SELECT NULL::boolean`)
	if allowed, _ := mustAsk(t, d, in("alice", "d")); allowed[0] {
		t.Error("may_read says null: allowed")
	}
	if mustAdmit(t, d, "alice", "t", "k").MayRead {
		t.Error("may_read says null: admitted")
	}
	replaceMayRead(t, conn, `LANGUAGE sql`, `SELECT true`)
	exec(t, conn, `CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql AS 'SELECT NULL::boolean'`)
	if allowed, _ := mustAsk(t, d, in("alice", "d")); allowed[0] {
		t.Error("user_exists says null: allowed")
	}
	if a := mustAdmit(t, d, "alice", "t", "k"); a.Exists || a.MayRead {
		t.Errorf("user_exists says null: %+v", a)
	}
}

// A value that the policy can't cast is the question's fault: the others are answered.
func TestAsk_ValueThatThePolicyCannotCast(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	replaceMayRead(t, conn, `LANGUAGE sql STABLE`, `SELECT may_read.dataset_id::int = 7`)
	var report logText
	d := open(t, db.Config{URL: asServer(url), Logger: report.logger()})
	allowed, at := mustAsk(t, d, in("alice", "7"), in("alice", "seven"), in("bob", "7"), in("bob", "8"), in("nobody", "7"))
	if diff := cmp.Diff([]bool{true, false, true, false, false}, allowed); diff != "" {
		t.Error(diff)
	}
	if at.Xmax() == 0 {
		t.Error("no position")
	}
	if !report.contains("make sense of a value") {
		t.Error("the operator is told nothing")
	}
	a := mustAdmit(t, d, "alice", "datasetUpdate", "seven")
	if !a.Exists || a.MayRead {
		t.Errorf("may_read can't cast: %+v", a)
	}
	exec(t, conn, `CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql STABLE
		AS 'SELECT user_id::uuid IS NOT NULL'`)
	if a := mustAdmit(t, d, "alice", "datasetUpdate", "7"); a.Exists || a.MayRead || a.At.Xmax() == 0 {
		t.Errorf("user_exists can't cast: %+v", a)
	}
}

// Any other error of a policy reaches the caller, without an answer.
func TestAsk_PolicyThatFails(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	d := open(t, db.Config{URL: asServer(url)})
	exec(t, conn, `CREATE TABLE public.secret (ok boolean)`)
	for _, body := range []string{
		`BEGIN RAISE EXCEPTION 'on strike'; END`,
		`BEGIN RETURN ok FROM public.nothing; END`,
		`BEGIN RETURN ok FROM public.secret; END`,
	} {
		replaceMayRead(t, conn, `LANGUAGE plpgsql`, body)
		if allowed, _, err := d.Ask(t.Context(), []notifier.Question{in("alice", "d")}); err == nil || allowed != nil {
			t.Errorf("%s: %v, %v", body, allowed, err)
		}
		if a, err := d.Admit(t.Context(), "alice", "t", "k"); err == nil || a.MayRead {
			t.Errorf("%s: %+v, %v", body, a, err)
		}
	}
	exec(t, conn, `DROP FUNCTION notifier.may_read`)
	if allowed, _, err := d.Ask(t.Context(), []notifier.Question{in("alice", "d")}); err == nil || allowed != nil {
		t.Errorf("dropped: %v, %v", allowed, err)
	}
}

// DESIGN: a verdict carries the snapshot it was computed in. That of a function that sees later ones, and waits, is
// said to be older than it is, which is the safe side.
func TestAsk_VolatilePolicyIsNewerThanItSays(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, watcher := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	replaceMayRead(t, conn, `LANGUAGE plpgsql VOLATILE`, `BEGIN
		PERFORM pg_advisory_xact_lock_shared(7);
		RETURN EXISTS (SELECT FROM notifier.dataset_permissions p
			WHERE p.user_id = may_read.user_id AND p.dataset_id = may_read.dataset_id); END`)
	d := open(t, db.Config{URL: asServer(url)})
	exec(t, conn, `SELECT pg_advisory_lock(7)`)
	type answer struct {
		allowed []bool
		at      notifier.Position
		err     error
	}
	answers := make(chan answer, 1)
	go func() { // ends when the lock is given back
		var a answer
		a.allowed, a.at, a.err = d.Ask(t.Context(), []notifier.Question{in("bob", "d")})
		answers <- a
	}()
	dbtest.Eventually(t, "the policy waits", func() bool {
		return scalar[bool](t, watcher, `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE a.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)`)
	})
	exec(t, conn, `INSERT INTO notifier.dataset_permissions VALUES ('bob', 'd')`)
	granted := scalar[uint64](t, watcher, `SELECT txid FROM notifier.events ORDER BY id DESC LIMIT 1`)
	exec(t, conn, `SELECT pg_advisory_unlock(7)`)
	a := <-answers
	if a.err != nil || !a.allowed[0] || a.at.Ended(granted) {
		t.Errorf("%v as of %v, granted by %d: %v", a.allowed, a.at, granted, a.err)
	}
}

// A policy that hangs is given up when the caller does, and does not hold up the next question.
func TestAsk_StalledPolicyIsGivenUp(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, watcher := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	replaceMayRead(t, conn, `LANGUAGE plpgsql`, `BEGIN PERFORM pg_advisory_xact_lock_shared(8); RETURN true; END`)
	d := open(t, db.Config{URL: url})
	exec(t, conn, `SELECT pg_advisory_lock(8)`)
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends when the context does
		_, _, err := d.Ask(ctx, []notifier.Question{in("alice", "d")})
		done <- err
	}()
	const waiting = `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted`
	dbtest.Eventually(t, "the policy waits", func() bool { return scalar[int](t, watcher, waiting) == 1 })
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	dbtest.Eventually(t, "the server has stopped too", func() bool { return scalar[int](t, watcher, waiting) == 0 })
	exec(t, conn, `SELECT pg_advisory_unlock(8)`)
	if allowed, _ := mustAsk(t, d, in("alice", "d")); !allowed[0] {
		t.Error("afterwards: not allowed")
	}
}

// The example is what the README shows.
func TestPolicyExample(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("testdata/policy_example.sql")
	if err != nil {
		t.Fatal(err)
	}
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, string(example))
	exec(t, conn, `
		INSERT INTO app.users VALUES ('alice'), ('bob'), ('eve');
		INSERT INTO app.users VALUES ('dave', now());
		INSERT INTO app.projects VALUES ('p'), ('q');
		INSERT INTO app.datasets VALUES ('d', 'p'), ('e', 'q');
		INSERT INTO app.issues VALUES ('i', 'd'), ('j', 'e');
		INSERT INTO app.members VALUES ('alice', 'p'), ('alice', 'q'), ('bob', 'q'), ('dave', 'p');
		INSERT INTO notifier.users (user_id) VALUES ('frank');
		INSERT INTO notifier.dataset_permissions VALUES ('eve', 'd')`)
	d := open(t, db.Config{URL: asServer(url)})
	ask := func() string {
		var text strings.Builder
		for _, user := range []string{"alice", "bob", "dave", "eve", "frank"} {
			allowed, _ := mustAsk(t, d, in(user, "d"), in(user, "e"), in(user, ""))
			fmt.Fprint(&text, user, " ", allowed, " ")
		}
		return strings.TrimSpace(text.String())
	}
	if diff := cmp.Diff("alice [true true true] bob [false true true] dave [false false false] eve [false false true] frank [false false false]", ask()); diff != "" {
		t.Errorf("the application's tables decide (-want +got):\n%s", diff)
	}
	for _, c := range []struct{ user, eventType, key, want string }{
		{"alice", "issueUpdate", "i", "true d true"},
		{"bob", "issueUpdate", "i", "true d false"},
		{"bob", "issueUpdate", "j", "true e true"},
		{"bob", "issueUpdate", "unknown", "true none true"},
		{"bob", "datasetUpdate", "e", "true e true"},
		{"bob", "notification", "", "true none true"},
		{"dave", "issueUpdate", "i", "false d false"},
	} {
		a, dataset := mustAdmit(t, d, c.user, c.eventType, c.key), "none"
		if a.Dataset != nil {
			dataset = *a.Dataset
		}
		if got := fmt.Sprint(a.Exists, " ", dataset, " ", a.MayRead); got != c.want {
			t.Errorf("%s %s %s: %s, want %s", c.user, c.eventType, c.key, got, c.want)
		}
	}
	const changes = `SELECT coalesce(recipient, '*') || ' ' || coalesce(dataset_id, '*')
		FROM notifier.events WHERE control = 'access_changed' AND id > $1 ORDER BY id`
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{`DELETE FROM app.members WHERE user_id = 'alice' AND project_id = 'p'`, []string{"alice *"}},
		{`UPDATE app.members SET user_id = 'eve' WHERE user_id = 'bob'`, []string{"bob *", "eve *"}},
		{`UPDATE app.datasets SET project_id = 'q' WHERE id = 'd'`, []string{"* d"}},
		{`UPDATE app.users SET left_at = now() WHERE id = 'bob'`, []string{"bob *"}},
		{`TRUNCATE app.members`, []string{"* *"}},
	} {
		before := scalar[int64](t, conn, `SELECT max(id) FROM notifier.events`)
		exec(t, conn, c.sql)
		if diff := cmp.Diff(c.want, column[string](t, conn, changes, before)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.sql, diff)
		}
	}
	if diff := cmp.Diff("alice [false false true] bob [false false false] dave [false false false] eve [false false true] frank [false false false]", ask()); diff != "" {
		t.Errorf("after all that (-want +got):\n%s", diff)
	}
}

// The feed hears of a change as of any event.
func TestFeed_BringsChangesOfAccess(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		l := follow(t, open(t, c))
		exec(t, dbtest.Connect(t, c.URL), `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
		l.waitFor(t, 1)
		e := l.seen()[0]
		if e.Control != notifier.ControlAccessGranted || *e.Recipient != "a" || *e.DatasetID != "d" {
			t.Errorf("%+v", e)
		}
		var payload struct{ Snapshot string }
		if err := json.Unmarshal(e.Payload, &payload); err != nil {
			t.Fatal(err)
		}
		if at, err := notifier.ParsePosition(payload.Snapshot); err != nil || at.Ended(e.TxID) {
			t.Errorf("its snapshot is %v: %v", payload.Snapshot, err)
		}
	})
}

// TRUNCATE empties a table for older snapshots too: whoever asks while a
// transaction empties and fills the permissions must wait for it before the
// snapshot is taken, or nobody would seem to have any.
func TestAsk_WaitsForTruncate(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, watching := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, conn, someAccess)
	d := open(t, db.Config{URL: url, MaxConns: 1})
	for name, ask := range map[string]func() bool{
		"ask":    func() bool { allowed, _ := mustAsk(t, d, in("alice", "d")); return allowed[0] },
		"admit":  func() bool { return mustAdmit(t, d, "alice", "datasetUpdate", "d").MayRead },
		"exists": func() bool { return mustAdmit(t, d, "alice", "datasetUpdate", "\x00").Exists },
	} {
		for range 10 { // planning waits too: from then on the plan is there already
			if !ask() {
				t.Fatalf("%s: no access to begin with", name)
			}
		}
		exec(t, conn, `BEGIN`)
		exec(t, conn, `TRUNCATE notifier.dataset_permissions, notifier.users`)
		answer := make(chan bool, 1)
		var waiting sync.WaitGroup
		waiting.Go(func() { answer <- ask() }) // ends with the transaction
		dbtest.Eventually(t, "it waits", func() bool {
			return scalar[bool](t, watching, `SELECT EXISTS (
				SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
		})
		exec(t, conn, someAccess)
		exec(t, conn, `COMMIT`)
		waiting.Wait()
		if !<-answer {
			t.Errorf("%s: who had access before and after has none in between", name)
		}
	}
}

// What the policy may know of and the feed has not brought yet.
func TestAccessChanges(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, late := dbtest.Connect(t, url), dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	exec(t, conn, someAccess)
	exec(t, late, `BEGIN`)
	exec(t, late, `DELETE FROM notifier.dataset_permissions WHERE user_id = 'alice'`)
	since, err := notifier.ParsePosition(scalar[string](t, conn, `SELECT pg_current_snapshot()::text`))
	if err != nil {
		t.Fatal(err)
	}
	changes := func() string {
		t.Helper()
		all, err := d.AccessChanges(t.Context(), since)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, e := range all {
			text = append(text, fmt.Sprint(e.Control, " ", *e.Recipient))
		}
		return strings.Join(text, ", ")
	}
	if got := changes(); got != "" {
		t.Errorf("before any: %s", got)
	}
	exec(t, conn, `INSERT INTO notifier.dataset_permissions VALUES ('bob', 'd')`)
	exec(t, conn, `SELECT notifier.publish('t')`)
	if got, want := changes(), "access_granted bob"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	exec(t, late, `COMMIT`)
	if got, want := changes(), "access_granted bob, access_revoked alice"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
