package db_test

import (
	"errors"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// stuckCommit is a publication whose COMMIT the server has begun and can't end
// before it is let go: what breaks now, breaks while the outcome is open.
type stuckCommit struct {
	proxy *dbtest.Proxy // between the publisher and the server
	conn  *pgx.Conn     // not through the proxy; it holds the commit
	ended chan error    // what Publish returned
}

func publishStuck(t *testing.T, url string, p notifier.Publication) stuckCommit {
	t.Helper()
	s := stuckCommit{proxy: dbtest.NewProxy(t, url), conn: dbtest.Connect(t, url), ended: make(chan error, 1)}
	exec(t, s.conn, `CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
		DROP TRIGGER IF EXISTS hold ON notifier.events;
		CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON notifier.events
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()`)
	exec(t, s.conn, `SELECT pg_advisory_lock(1)`)
	d := open(t, db.Config{URL: s.proxy.URL()})
	go func() { s.ended <- d.Publish(t.Context(), p) }() // ends with the push, for which each test waits
	awaitBlocked(t, s.conn, 1)
	return s
}

func (s stuckCommit) letGo(t *testing.T) {
	t.Helper()
	exec(t, s.conn, `SELECT pg_advisory_unlock(1)`)
}

func (s stuckCommit) stored(t *testing.T) bool {
	t.Helper()
	return scalar[bool](t, s.conn, `SELECT EXISTS (SELECT FROM notifier.events)`)
}

func TestPublish_AnswerToCommitIsLost(t *testing.T) {
	t.Parallel()
	s := publishStuck(t, dbtest.New(t), notifier.Publication{Events: events("a", "b")})
	s.proxy.Stall()
	s.letGo(t)
	dbtest.Eventually(t, "the transaction commits", func() bool { return s.stored(t) })
	s.proxy.Cut()
	s.proxy.Resume()
	if err := <-s.ended; err != nil {
		t.Errorf("stored: %t, but: %v", s.stored(t), err)
	}
}

// The server does not notice the cut, but the driver may get a request to
// cancel through to it: both outcomes are right.
func TestPublish_CutWhileCommitting(t *testing.T) {
	t.Parallel()
	s := publishStuck(t, dbtest.New(t), notifier.Publication{Events: events("a")})
	s.proxy.Cut()
	dbtest.Eventually(t, "the publisher asks for the outcome", func() bool {
		return scalar[bool](t, s.conn, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE '%name: settle%' AND pid <> pg_backend_pid())`)
	})
	s.letGo(t)
	err := <-s.ended
	if stored := s.stored(t); stored != (err == nil) || errors.Is(err, notifier.ErrOutcomeUnknown) {
		t.Errorf("stored: %t, but: %v", stored, err)
	}
}

func TestPublish_TerminatedWhileCommitting(t *testing.T) {
	t.Parallel()
	s := publishStuck(t, dbtest.New(t), notifier.Publication{Events: events("a")})
	exec(t, s.conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	err := <-s.ended
	if err == nil || errors.Is(err, notifier.ErrOutcomeUnknown) || errors.Is(err, notifier.ErrUnstorable) {
		t.Errorf("nothing was stored, and that is known, but: %v", err)
	}
	if s.stored(t) {
		t.Error("it was stored")
	}
}

func TestPublish_OutcomeUnknown(t *testing.T) {
	t.Parallel()
	s := publishStuck(t, dbtest.New(t), notifier.Publication{Events: events("a")})
	s.proxy.Refuse()
	s.proxy.Cut()
	if err := <-s.ended; !errors.Is(err, notifier.ErrOutcomeUnknown) {
		t.Errorf("the server can't be asked, but: %v", err)
	}
	s.letGo(t)
}

func TestPublish_CommitRefused(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON notifier.events
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
	err := open(t, db.Config{URL: url}).Publish(t.Context(), notifier.Publication{Events: events("a")})
	if err == nil || errors.Is(err, notifier.ErrOutcomeUnknown) || errors.Is(err, notifier.ErrUnstorable) {
		t.Errorf("a trigger of the application refused the commit, but: %v", err)
	}
}
