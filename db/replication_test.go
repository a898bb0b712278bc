package db_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// logicalCluster makes a private cluster that others can subscribe to.
func logicalCluster(t *testing.T) *dbtest.Cluster {
	t.Helper()
	return dbtest.NewCluster(t, dbtest.Settings(map[string]string{"wal_level": "logical"}))
}

// Rows that arrive by logical replication carry another cluster's transaction
// ids. What was copied to begin with is past; the rest is delivered, once.
func TestFeed_LogicalReplication(t *testing.T) {
	t.Parallel()
	origin, target := logicalCluster(t), logicalCluster(t)
	there, here, blocker := dbtest.Connect(t, origin.URL("")), dbtest.Connect(t, target.URL("")), dbtest.Connect(t, target.URL(""))
	// The origin's counter is ahead: its ids would be hidden here, and come again later.
	burn(t, there, 500)
	exec(t, there, `INSERT INTO notifier.events (key, recipient) SELECT 'copied ' || i, 'u' FROM generate_series(1, 3) AS i`)
	exec(t, there, `CREATE PUBLICATION events FOR TABLE notifier.events WITH (publish = 'insert')`)

	d := open(t, db.Config{URL: target.URL(""), PollInterval: 20 * time.Millisecond})
	l := follow(t, d)
	beforeCopy := cursorHere(t, here)
	// The copy waits for the first id, so that something is committed while it is under way.
	exec(t, blocker, `BEGIN`)
	exec(t, blocker, `INSERT INTO notifier.events (id, key) OVERRIDING SYSTEM VALUE VALUES (1, 'never')`)
	exec(t, here, `CREATE SUBSCRIPTION events CONNECTION `+quote(origin.URL(""))+` PUBLICATION events`)
	dbtest.Eventually(t, "the copy waits", func() bool {
		return scalar[bool](t, here, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type LIKE 'logical replication%' AND wait_event_type = 'Lock')`)
	})
	exec(t, there, `INSERT INTO notifier.events (key, recipient) VALUES ('during', 'u')`)
	exec(t, blocker, `ROLLBACK`)
	l.waitFor(t, 1)
	dbtest.Eventually(t, "the copy is done", func() bool {
		return scalar[bool](t, here, `SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel`)
	})
	exec(t, there, `INSERT INTO notifier.events (key, recipient) VALUES ('live', 'u')`)
	l.waitFor(t, 2)
	exec(t, there, `BEGIN`)
	exec(t, there, `INSERT INTO notifier.events (key, recipient) SELECT 'together', 'u' FROM generate_series(1, 3)`)
	exec(t, there, `SELECT notifier.access_changed('u')`) // which is a row that stands in, and at the end the row
	exec(t, there, `COMMIT`)
	l.waitFor(t, 7)
	burn(t, here, 1000) // past all the origin's
	exec(t, here, `INSERT INTO notifier.events (id, key) OVERRIDING SYSTEM VALUE VALUES (1000000, 'own')`)
	l.waitFor(t, 8)

	var came []string
	for _, e := range l.seen() {
		came = append(came, fmt.Sprintf("%s%s%s", e.Key, e.Control, map[bool]string{true: "?"}[e.Unordered]))
		if e.Control != "" && e.Payload != nil {
			t.Errorf("the origin's snapshot came along: %s", e.Payload)
		}
	}
	if got, want := fmt.Sprint(came), "[during? live? together? together? together? access_changed? access_changed? own]"; got != want {
		t.Errorf("came %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(replayed(t, d, "u", l.Point())), "[copied 1 copied 2 copied 3 during live together together together]"; got != want {
		t.Errorf("replayed %s, want %s", got, want)
	}
	wantResumable(t, d, "from before the copy", beforeCopy, true)
}

// burn uses up so many transaction ids.
func burn(t *testing.T, conn *pgx.Conn, count int) {
	t.Helper()
	exec(t, conn, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`, count))
}

// replayed returns the keys of what is stored for a user up to a point.
func replayed(t *testing.T, d *db.DB, user string, until notifier.Point) []string {
	t.Helper()
	var keys []string
	err := d.Replay(t.Context(), []notifier.Filter{{Recipient: &user}}, until, func(page []*notifier.Event) error {
		for _, e := range page {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Whoever writes in place of replication, with another's transaction ids, has
// them replaced; an ordinary writer has nothing of it.
func TestArrival_OnlyForReplicas(t *testing.T) {
	t.Parallel()
	conn := dbtest.Connect(t, dbtest.New(t))
	insert := func(role string) (own bool) {
		exec(t, conn, `BEGIN`)
		exec(t, conn, `SET LOCAL session_replication_role = `+role)
		exec(t, conn, `INSERT INTO notifier.events (txid, key) VALUES ('123456789', 'k')`)
		own = scalar[bool](t, conn, `SELECT txid = pg_current_xact_id() FROM notifier.events`)
		exec(t, conn, `ROLLBACK`)
		return own
	}
	if !insert("replica") || insert("origin") {
		t.Error("a replica's row keeps its transaction id, or an ordinary one's does not")
	}
	exec(t, conn, `INSERT INTO notifier.events (key) VALUES ('k')`)
	before := eventNow(t, conn, "k")
	exec(t, conn, `BEGIN; SET LOCAL session_replication_role = replica; UPDATE notifier.events SET txid = '7', action = 'changed'; COMMIT`)
	if after := eventNow(t, conn, "k"); after.TxID != before.TxID || after.Action != "changed" {
		t.Errorf("an update that arrived made %+v of %+v", after, before)
	}
}
