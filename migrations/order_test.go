package migrations_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

const (
	grant  = `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`
	revoke = `DELETE FROM notifier.dataset_permissions`
)

// waiting waits until a connection waits for a lock.
func waiting(t *testing.T, watcher *pgx.Conn, pid uint32) {
	t.Helper()
	dbtest.Eventually(t, "a statement waits for a lock", func() bool {
		return scalar[bool](t, watcher, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`, int(pid))
	})
}

// inBackground runs statements on a connection; the returned function waits until they have ended.
func inBackground(t *testing.T, conn *pgx.Conn, statements ...string) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { // ends with the statements
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				done <- fmt.Errorf("%s: %w", sql, err)
				return
			}
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// order is a database with some who change access and publish in it.
type order struct {
	t                       *testing.T
	changer, writer, others *pgx.Conn
}

func newOrder(t *testing.T) *order {
	t.Helper()
	url := dbtest.New(t)
	return &order{t, dbtest.Connect(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)}
}

// want compares what the last changes see: "before" an event's transaction, or "after" it, or "?" if they say nothing.
func (o *order) want(name string, event uint64, want ...string) {
	o.t.Helper()
	got := []string{}
	for _, c := range changes(o.t, o.others, 0) {
		kind, _, _ := strings.Cut(c.what, " ")
		switch {
		case c.payload.Snapshot == "":
			got = append(got, kind+" ?")
		case c.sees(o.t, c.txid):
			o.t.Errorf("%s sees its own transaction in %s", c.what, c.payload.Snapshot)
		case c.sees(o.t, event):
			got = append(got, kind+" after")
		default:
			got = append(got, kind+" before")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Errorf("%s, the changes against transaction %d (-want +got):\n%s", name, event, diff)
	}
}

// nothingLeft checks that no lock and no queued change outlives what was done.
func (o *order) nothingLeft() {
	o.t.Helper()
	if left := scalar[int](o.t, o.others, `
		SELECT (SELECT count(*) FROM notifier.access_changes)
			+ (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
				WHERE locktype = 'advisory' AND datname = current_database())`); left != 0 {
		o.t.Errorf("%d locks or queued changes are left", left)
	}
}

func TestOrder_EventBetweenTheGrantsStatementAndItsCommit(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			exec(t, o.others, "BEGIN")
			open := event(t, o.others) // in progress at the commit, and not near its end
			exec(t, o.changer, "BEGIN ISOLATION LEVEL "+level, "SELECT FROM notifier.users")
			before := event(t, o.writer)
			exec(t, o.changer, grant, revoke, "SELECT notifier.access_changed()")
			between := event(t, o.writer)
			exec(t, o.changer, "COMMIT")
			after := event(t, o.writer)
			exec(t, o.others, "COMMIT")
			for _, e := range []uint64{before, between} {
				o.want("an event before the commit", e, "granted after", "revoked after", "changed after")
			}
			for _, e := range []uint64{open, after} {
				o.want("an event after the commit", e, "granted before", "revoked before", "changed before")
			}
			o.nothingLeft()
		})
	}
}

// pastItsDoorbell are the ways to be about to commit: begin leaves the transaction there.
var pastItsDoorbell = map[string]func(o *order, begin *pgx.Conn){
	"with the tail": func(o *order, conn *pgx.Conn) {
		exec(o.t, conn, one, "SET CONSTRAINTS ALL IMMEDIATE")
	},
	"with the second tail": func(o *order, conn *pgx.Conn) {
		exec(o.t, o.others, "BEGIN", "SELECT "+tailExclusive)
		exec(o.t, conn, one, "SET CONSTRAINTS ALL IMMEDIATE")
		exec(o.t, o.others, "ROLLBACK")
	},
	"while a reader looks at the tails": func(o *order, conn *pgx.Conn) {
		exec(o.t, o.others, "BEGIN", "SELECT "+tailExclusive, "SELECT "+secondTailExclusive)
		exec(o.t, conn, one, "SET CONSTRAINTS ALL IMMEDIATE")
		exec(o.t, o.others, "ROLLBACK")
	},
	"with the doorbell off": func(o *order, conn *pgx.Conn) {
		exec(o.t, conn, "SET LOCAL notifier.doorbell = off", one)
	},
}

func TestOrder_EventPastItsDoorbellWhenTheGrantCommits(t *testing.T) {
	t.Parallel()
	for name, publish := range pastItsDoorbell {
		for _, level := range []string{"READ COMMITTED", "SERIALIZABLE"} {
			t.Run(name+" "+level, func(t *testing.T) {
				t.Parallel()
				o := newOrder(t)
				exec(t, o.changer, "BEGIN ISOLATION LEVEL "+level, grant)
				exec(t, o.writer, "BEGIN")
				publish(o, o.writer)
				e := txid(t, o.writer)
				commit := inBackground(t, o.changer, "COMMIT")
				waiting(t, o.others, o.changer.PgConn().PID())
				exec(t, o.writer, "COMMIT")
				commit()
				o.want("which the grant waited for", e, "granted after")
				o.nothingLeft()
			})
		}
	}
}

// stall keeps a change of access in its commit, after it has written its control rows, as long as lock 77 is held.
const stall = `
CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON notifier.events DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW WHEN (NEW.control IS NOT NULL) EXECUTE FUNCTION stall()`

func TestOrder_EventThatArrivesWhileTheGrantCommits(t *testing.T) {
	t.Parallel()
	for name, publish := range map[string][]string{
		"single statement":    {one},
		"several statements":  {"BEGIN", one, one, "COMMIT"},
		"made immediate":      {"BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", one, "COMMIT"},
		"with a lock_timeout": {"SET lock_timeout = '1ms'", one},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			exec(t, o.others, stall, "SELECT pg_advisory_lock(77)")
			limit := "0"
			if strings.HasPrefix(publish[0], "SET") {
				limit = "1ms"
			}
			change := inBackground(t, o.changer, grant)
			waiting(t, o.others, o.changer.PgConn().PID())
			published := inBackground(t, o.writer, publish...)
			waiting(t, o.others, o.writer.PgConn().PID())
			if n := scalar[int](t, o.others, "SELECT count(*)::int FROM notifier.events"); n != 0 {
				t.Errorf("%d events are there before the grant", n)
			}
			exec(t, o.others, "SELECT pg_advisory_unlock(77)")
			change()
			published()
			o.want("that waited", scalar[uint64](t, o.others, "SELECT max(txid::text::bigint) FROM notifier.events WHERE control IS NULL"), "granted before")
			if got := scalar[string](t, o.writer, "SHOW lock_timeout"); got != limit {
				t.Errorf("the writer's lock_timeout is now %s", got)
			}
			o.nothingLeft()
		})
	}
}

// A change that stays in its commit for long must not hold publishers for as long. They have no place then: the log can't
// say so, but nobody is stuck or failed.
func TestOrder_PublisherGivesUpWaiting(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.others, stall, "SELECT pg_advisory_lock(77)")
	change := inBackground(t, o.changer, grant)
	waiting(t, o.others, o.changer.PgConn().PID())
	exec(t, o.writer, "SET lock_timeout = '7s'", "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
	if got := scalar[string](t, o.writer, "SHOW lock_timeout"); got != "7s" {
		t.Errorf("the writer's lock_timeout is now %s", got)
	}
	exec(t, o.writer, "COMMIT")
	exec(t, o.others, "SELECT pg_advisory_unlock(77)")
	change()
	o.nothingLeft()
}

// With the doorbell off nobody waits for a change: the row says that it has no place.
func TestOrder_DoorbellOffWhileTheGrantCommits(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.others, stall, "SELECT pg_advisory_lock(77)")
	change := inBackground(t, o.changer, grant)
	waiting(t, o.others, o.changer.PgConn().PID())
	exec(t, o.writer, "SET notifier.doorbell = off", one)
	exec(t, o.others, "SELECT pg_advisory_unlock(77)")
	change()
	exec(t, o.writer, one)
	if got := scalar[string](t, o.others, `SELECT string_agg(coalesce(rings::text, 'null'), ' ' ORDER BY id)
		FROM notifier.events WHERE control IS NULL`); got != "false null" {
		t.Errorf("the events have %q, want the first alone without a place", got)
	}
	o.nothingLeft()
}

// Somebody who is past the doorbell and does not end holds up neither the grant, beyond a moment, nor other publishers.
func TestOrder_GrantBehindSomebodyStuck(t *testing.T) {
	t.Parallel()
	for name, publish := range pastItsDoorbell {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			exec(t, o.writer, "BEGIN")
			publish(o, o.writer)
			began := time.Now()
			exec(t, o.changer, grant, revoke, "BEGIN", revoke, grant, "SELECT notifier.access_changed()", "COMMIT")
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("the changes took %v", took)
			}
			e := txid(t, o.writer)
			exec(t, o.writer, "COMMIT")
			o.want("that is stuck", e, "granted ?", "revoked before", "granted ?", "changed ?")
			o.nothingLeft()
		})
	}
}

// While a change waits for the tail, publishers go on: here it waits without a limit, and they do not wait at all.
func TestOrder_PublishersPassAChangeThatWaits(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	url := o.others.Config().ConnString()
	stuck := dbtest.Connect(t, url)
	exec(t, stuck, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
	change := inBackground(t, o.changer, "SELECT pg_advisory_xact_lock(1853059945, 1)")
	waiting(t, o.others, o.changer.PgConn().PID())
	exec(t, o.writer, one, "BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE")
	if scalar[string](t, o.writer, "SELECT coalesce(current_setting('notifier.lock_timeout', true), '')") != "" {
		t.Error("a publisher waited")
	}
	exec(t, o.writer, "COMMIT")
	exec(t, stuck, "COMMIT")
	change()
	o.nothingLeft()
}

// Whoever waits for the grant's rows is not waited for: neither fails, and the grant does not lose time.
func TestOrder_PublisherThatWaitsForTheGrant(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.others, "CREATE TABLE rows AS SELECT 1 AS id")
	exec(t, o.changer, "BEGIN", "UPDATE rows SET id = 2", grant)
	// It decides about its doorbell with the event, and has the tail while it waits.
	published := inBackground(t, o.writer, "SET deadlock_timeout = '50ms'; WITH event AS ("+one+" RETURNING id) UPDATE rows SET id = 3 FROM event")
	waiting(t, o.others, o.writer.PgConn().PID())
	exec(t, o.changer, "SET LOCAL deadlock_timeout = '1ms'", "COMMIT")
	published()
	o.want("that waits", 0, "granted ?")
	o.nothingLeft()
}

// Both are past their doorbell when they want to be alone: one gets its place, and neither fails.
func TestOrder_TwoThatPublishAndGrant(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.others, "SELECT pg_advisory_lock(78)",
		`CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(78); RETURN NULL; END $$`,
		`CREATE CONSTRAINT TRIGGER meet AFTER INSERT ON notifier.events DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.control IS NULL) EXECUTE FUNCTION meet()`)
	a := inBackground(t, o.changer, "BEGIN", one, "INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')", "COMMIT")
	b := inBackground(t, o.writer, "BEGIN", one, "INSERT INTO notifier.dataset_permissions VALUES ('b', 'd')", "COMMIT")
	waiting(t, o.others, o.changer.PgConn().PID())
	waiting(t, o.others, o.writer.PgConn().PID())
	exec(t, o.others, "SELECT pg_advisory_unlock(78)")
	a()
	b()
	if all := whats(changes(t, o.others, 0)); len(all) != 2 {
		t.Errorf("the changes are %v", all)
	}
	o.nothingLeft()
}

// Serializable transactions that grant do not get in each other's way.
func TestOrder_SerializableGrantsDoNotConflict(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.changer, "BEGIN ISOLATION LEVEL SERIALIZABLE", "INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')")
	exec(t, o.writer, "BEGIN ISOLATION LEVEL SERIALIZABLE", "INSERT INTO notifier.dataset_permissions VALUES ('b', 'd')")
	exec(t, o.changer, "COMMIT")
	exec(t, o.writer, "COMMIT")
	o.nothingLeft()
}

func TestOrder_ManyPermissionsAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	const number = 100_000
	exec(t, o.changer, fmt.Sprintf("INSERT INTO notifier.dataset_permissions SELECT 'u' || i, 'd' || i FROM generate_series(1, %d) i", number))
	exec(t, o.changer, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
		INSERT INTO notifier.dataset_permissions VALUES ('v' || i, 'd'); END LOOP; END $$`, number))
	all := changes(t, o.others, 0)
	if len(all) != 102 {
		t.Errorf("%d control rows", len(all))
	}
	for _, c := range all {
		if c.payload.Snapshot == "" {
			t.Errorf("%s has no place among the events", c.what)
		}
	}
	o.nothingLeft()
}
