package db_test

import (
	"strings"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// When an event was committed is told exactly where the database keeps it, and else
// between two of the positions that are recorded.
func TestTrace_WhenItWasCommitted(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t, dbtest.Settings(map[string]string{"track_commit_timestamp": "on"}))
	conn := dbtest.Connect(t, cluster.URL(""))
	d := open(t, db.Config{URL: cluster.URL("")})
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position) VALUES ('2026-01-01 00:00Z', pg_current_snapshot())`)
	exec(t, conn, `INSERT INTO notifier.events (type, created_at, payload) VALUES ('t', 'infinity', '12345')`)
	exec(t, conn, `INSERT INTO notifier.positions (taken_at, position) VALUES ('2026-01-01 00:01Z', pg_current_snapshot())`)
	got, err := d.Trace(t.Context(), "nobody", 1)
	if err != nil {
		t.Fatal(err)
	}
	r := got.Row
	if r == nil || r.CommittedAt == nil || time.Since(*r.CommittedAt).Abs() > time.Minute || r.CreatedAt.Year() != 9999 || r.PayloadBytes != 5 || r.TooLarge {
		t.Fatalf("%+v", r)
	}
	if r.After == nil || r.Before == nil || r.After.UTC().Format(time.TimeOnly) != "00:00:00" || r.Before.UTC().Format(time.TimeOnly) != "00:01:00" {
		t.Errorf("between %v and %v", r.After, r.Before)
	}
	if p := got.Policy; p.Exists || p.MayRead || p.Decided != "notifier.user_exists" || !strings.Contains(p.Source, "notifier.users") {
		t.Errorf("%+v", p)
	}
}

// A policy that writes is asked as by live delivery, but nothing of it stays.
func TestTrace_PolicyThatWrites(t *testing.T) {
	t.Parallel()
	at := dbtest.New(t)
	conn := dbtest.Connect(t, at)
	d := open(t, db.Config{URL: at})
	exec(t, conn, `CREATE TABLE public.asked (user_id text)`)
	exec(t, conn, `CREATE OR REPLACE FUNCTION notifier.user_exists(user_id text) RETURNS boolean LANGUAGE sql AS 'INSERT INTO public.asked VALUES (user_id) RETURNING true'`)
	exec(t, conn, `INSERT INTO notifier.events (type) VALUES ('t')`)
	got, err := d.Trace(t.Context(), "ann", 1)
	if err != nil || got.Policy == nil || got.Policy.Error != "" || !got.Policy.MayRead {
		t.Errorf("%+v, %v", got.Policy, err)
	}
	if n := scalar[int](t, conn, `SELECT count(*)::int FROM public.asked`); n != 0 {
		t.Errorf("%d were written", n)
	}
}

// A change of access is told of if it concerns the user and the event, with whether
// the event came first.
func TestTrace_Changes(t *testing.T) {
	t.Parallel()
	at := dbtest.New(t)
	conn := dbtest.Connect(t, at)
	d := open(t, db.Config{URL: at})
	exec(t, conn, `INSERT INTO notifier.dataset_permissions VALUES ('ann', 'd'), ('ann', 'other'), ('bob', 'd')`)
	exec(t, conn, `INSERT INTO notifier.events (key, dataset_id) VALUES ('traced', 'd')`)
	exec(t, conn, `SELECT notifier.access_changed()`)
	exec(t, conn, `DELETE FROM notifier.dataset_permissions WHERE user_id = 'ann'`)
	id := scalar[int64](t, conn, `SELECT id FROM notifier.events WHERE key = 'traced'`)
	got, err := d.Trace(t.Context(), "ann", id)
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		control    notifier.Control
		dataset    string
		eventFirst bool
	}
	var all []seen
	for _, c := range got.Changes {
		s := seen{control: c.Control, dataset: "any"}
		if c.DatasetID != nil {
			s.dataset = *c.DatasetID
		}
		if c.EventFirst == nil || c.By == "" {
			t.Fatalf("%+v", c)
		}
		s.eventFirst = *c.EventFirst
		all = append(all, s)
	}
	want := []seen{
		{notifier.ControlAccessGranted, "d", false}, {notifier.ControlAccessChanged, "any", true}, {notifier.ControlAccessRevoked, "d", true},
	}
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i := range want {
		if all[i] != want[i] {
			t.Errorf("%+v, want %+v", all[i], want[i])
		}
	}
	if got, err := d.Trace(t.Context(), "no\x00body", id); err != nil || got.Policy != nil || got.Row == nil {
		t.Errorf("of who can't be: %+v, %v", got, err)
	}
}
