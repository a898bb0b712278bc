package leaktest

import (
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// newOrderBench is a bench whose user a has no access to d, and a gate by which
// everything is read in one batch.
func newOrderBench(t *testing.T, more string) (*bench, *gate, *inbox) {
	t.Helper()
	g := newGate()
	b := newBench(t, more, func(i *instance) { i.gate = g.wait })
	b.revoke()
	b.passed(t, b.conn)
	return b, g, b.watch(t, "a", false)
}

// An event that is committed while the transaction of a grant is open comes
// before it, however long ago the grant's statement was.
func TestGrant_EventBetweenItsStatementAndItsCommit(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			b, g, box := newOrderBench(t, "")
			var own, after int64
			of := b.inOneBatch(g, func() {
				exec(t, b.lock, `BEGIN ISOLATION LEVEL `+level)
				exec(t, b.lock, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
				b.publish(b.conn, "d", "")
				own = b.publish(b.lock, "d", "")
				b.publish(b.conn, "d", "")
				exec(t, b.lock, `COMMIT`)
				after = b.publish(b.conn, "d", "")
			})
			b.wantChanges(of, 4, 1)
			b.want("who is granted it", box, own, after)
		})
	}
}

// An application that says by access_changed() that it has given access.
func TestGrant_OfTheApplicationInRepeatableRead(t *testing.T) {
	t.Parallel()
	b, g, box := newOrderBench(t, "")
	var after int64
	of := b.inOneBatch(g, func() {
		exec(t, b.lock, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
		exec(t, b.lock, `ALTER TABLE notifier.dataset_permissions DISABLE TRIGGER access_won_by_insert`)
		exec(t, b.lock, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
		exec(t, b.lock, `SELECT notifier.access_changed('a')`)
		b.publish(b.conn, "d", "")
		exec(t, b.lock, `COMMIT`)
		after = b.publish(b.conn, "d", "")
	})
	b.wantChanges(of, 2, 1)
	b.want("who is granted it", box, after)
}

// A grant that could not be given a place among the events counts from the next
// batch on, and for what its own transaction says.
func TestGrant_WithoutAPlaceAmongTheEvents(t *testing.T) {
	t.Parallel()
	b, g, box := newOrderBench(t, "")
	var own int64
	of := b.inOneBatch(g, func() {
		exec(t, b.lock, `BEGIN`)
		exec(t, b.lock, `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
		exec(t, b.lock, `SET CONSTRAINTS ALL IMMEDIATE`)
		own = b.publish(b.lock, "d", "")
		b.publish(b.conn, "d", "")
		exec(t, b.lock, `COMMIT`)
		b.publish(b.conn, "d", "")
	})
	b.wantChanges(of, 3, 1)
	next := b.publish(b.conn, "d", "")
	b.passed(t, b.conn)
	b.want("who is granted it", box, own, next)
}

// With the doorbell off a publisher does not wait for a grant that is committing:
// its event may be the first of the two to be seen.
func TestGrant_EventOfASilentPublisherMeanwhile(t *testing.T) {
	t.Parallel()
	b, g, box := newOrderBench(t, `
		CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER stay AFTER INSERT ON notifier.events DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.control = 'access_granted') EXECUTE FUNCTION stay()`)
	granter := dbtest.Connect(t, b.conn.Config().ConnString())
	silent := silence(t, dbtest.Connect(t, b.conn.Config().ConnString()))
	var after int64
	of := b.inOneBatch(g, func() {
		release := b.stall()
		granted := make(chan error, 1)
		go func() { // ends when the grant may
			_, err := granter.Exec(t.Context(), `INSERT INTO notifier.dataset_permissions VALUES ('a', 'd')`)
			granted <- err
		}()
		b.stalled("INSERT INTO notifier.dataset_permissions")
		b.publish(silent, "d", "")
		release()
		if err := <-granted; err != nil {
			t.Fatal(err)
		}
		after = b.publish(silent, "d", "")
	})
	b.wantChanges(of, 2, 1)
	b.want("who is granted it", box, after)
}

func silence(t *testing.T, conn *pgx.Conn) *pgx.Conn {
	t.Helper()
	exec(t, conn, `SET notifier.doorbell = off`)
	return conn
}
