package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What takes part in a torture, beside what each variant adds.
const (
	mixedWriters = 28 // with the special ones below, 32
	visitors     = 8  // subscribers who come and go
	residents    = 8  // subscribers who stay
	users        = 64 // recipients of events
	objects      = 16 // rows whose changes a trigger publishes
)

// torture is one run: writers do everything that transactions can do while
// subscribers come and go; at the end, what each received is compared with what
// the table holds and with what the writers know.
type torture struct {
	url  string
	d    *db.DB
	hub  *notifier.Hub
	stop <-chan struct{} // closed when the writers shall end

	killers *pgxpool.Pool // to terminate others from; a connection for each time would cost more than all the rest

	committed atomic.Int64 // transactions, for those who wait for others
	counts    counts
	giant     int // rows of the transaction that is open for most of the time

	mu       sync.Mutex
	sessions []*session
	writers  []*writer
}

// counts is what a run tells about itself.
type counts struct {
	rolledBack, killed, unknown, abandoned, sabotage atomic.Int64
}

// sabotage does harm until stop is closed, and at least twice.
type sabotage func(t *testing.T, x *torture, stop <-chan struct{})

// TestTorture takes NOTIFIER_TORTURE for each variant.
func TestTorture(t *testing.T) {
	t.Parallel()
	t.Run("listening", func(t *testing.T) {
		t.Parallel()
		run(t, db.Config{URL: dbtest.New(t), PollInterval: time.Second}, peace)
	})
	t.Run("polling only", func(t *testing.T) {
		t.Parallel()
		run(t, db.Config{URL: dbtest.New(t), PollOnly: true, PollInterval: 20 * time.Millisecond}, peace)
	})
	t.Run("listener terminated", func(t *testing.T) {
		t.Parallel()
		run(t, db.Config{URL: dbtest.New(t), PollInterval: time.Second}, terminateListener)
	})
	t.Run("server crashing", func(t *testing.T) {
		t.Parallel()
		cluster := dbtest.NewCluster(t, dbtest.Durable())
		run(t, db.Config{URL: cluster.URL(""), PollInterval: time.Second}, crashing(cluster))
	})
}

func peace(_ *testing.T, _ *torture, stop <-chan struct{}) { <-stop }

// terminateListener ends the feed's connection whenever there is one.
func terminateListener(t *testing.T, x *torture, stop <-chan struct{}) {
	conn := dbtest.Connect(t, x.url)
	for !closed(stop) || x.counts.sabotage.Load() < 2 {
		ended := scalar[int64](t, conn, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
			FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'notifier feed'`)
		x.counts.sabotage.Add(ended)
		x.awaitOthers(5, stop)
	}
}

// crashing crashes the server each time that it has done some work.
func crashing(cluster *dbtest.Cluster) sabotage {
	return func(t *testing.T, x *torture, stop <-chan struct{}) {
		for !closed(stop) || x.counts.sabotage.Load() < 2 {
			worked := x.committed.Load() + 200
			dbtest.Eventually(t, "the writers have done some work", func() bool { return x.committed.Load() >= worked })
			crash(t, cluster)
			x.counts.sabotage.Add(1)
		}
	}
}

func run(t *testing.T, c db.Config, harm sabotage) {
	c.Logger = slog.New(slog.DiscardHandler)
	stop := make(chan struct{})
	x := &torture{url: c.URL, d: open(t, c), hub: notifier.NewHub(notifier.HubConfig{}), stop: stop, giant: scaled(50_000, 1_000_000)}
	x.killers = dbtest.Pool(t, c.URL)
	exec(t, dbtest.Connect(t, c.URL), tortureSchema)
	feed(t, x.d, x.hub)
	dbtest.Eventually(t, "the feed follows the log", func() bool { return x.d.Ready() == nil })

	all := x.everything(t)
	stay := x.moveIn(t)
	leave := make(chan struct{})
	visits := x.receiveVisitors(t, leave)
	writing := x.write(t)
	harm(t, x, x.enough(t))
	close(stop)
	writing.Wait()
	x.finishPrepared(t)

	truth := x.readTruth(t)
	for have := 0; have < len(truth.rows); {
		dbtest.Eventually(t, fmt.Sprintf("more than %d of %d events come", have, len(truth.rows)), func() bool {
			return all.inbox.len() > have
		})
		have = all.inbox.len()
	}
	close(leave)
	visits.Wait()
	for _, s := range append(stay, all) {
		x.leave(s)
	}
	x.judge(t, truth)
	x.report(t, truth)
}

// enough is closed when the run has taken its time, and something has happened
// in it: on a machine with much else to do that may take longer.
func (x *torture) enough(t *testing.T) <-chan struct{} {
	const least = 500
	over := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), tortureTime(t, 2*time.Second))
	go func() { // ends after that time, or with the test
		defer close(over)
		defer cancel()
		<-ctx.Done()
		x.awaitOthers(least-x.committed.Load(), t.Context().Done())
	}()
	return over
}

func (x *torture) report(t *testing.T, truth *truth) {
	deliveries := 0
	for _, s := range x.sessions {
		deliveries += len(s.replayed) + s.inbox.len()
	}
	t.Logf("%d transactions committed, %d rolled back, %d killed, %d with unknown outcome; %d events stored; "+
		"%d subscribers (%d left during replay) received %d events; %d times harm was done",
		x.committed.Load(), x.counts.rolledBack.Load(), x.counts.killed.Load(), x.counts.unknown.Load(), len(truth.rows),
		len(x.sessions), x.counts.abandoned.Load(), deliveries, x.counts.sabotage.Load())
}

// awaitOthers waits until others have committed that many transactions.
func (x *torture) awaitOthers(count int64, stop <-chan struct{}) {
	enough := x.committed.Load() + count
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for x.committed.Load() < enough {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tortureSchema is an application with a trigger. The lock on its row is what
// orders the events about an object.
var tortureSchema = fmt.Sprintf(`
	CREATE TABLE objects (id int PRIMARY KEY, token text);
	INSERT INTO objects SELECT i FROM generate_series(1, %d) AS i;
	CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM notifier.publish('object', 'update', NEW.id::text, to_json(NEW.token),
			recipient => 'user' || NEW.id %% %d, principal => NEW.token);
		RETURN NULL;
	END $$;
	CREATE TRIGGER tell AFTER UPDATE ON objects FOR EACH ROW EXECUTE FUNCTION tell()`, objects, users)

// finishPrepared rolls back what is still prepared: its writers never heard
// that it is.
func (x *torture) finishPrepared(t *testing.T) {
	conn := dbtest.Connect(t, x.url)
	for _, name := range column[string](t, conn, `SELECT gid FROM pg_prepared_xacts WHERE database = current_database()`) {
		exec(t, conn, "ROLLBACK PREPARED "+quote(name))
	}
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
