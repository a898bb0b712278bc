package db_test

import (
	"bytes"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// program returns the path of a program of Postgres' that is of the cluster's
// release.
func program(t *testing.T, cluster *dbtest.Cluster, name string) string {
	t.Helper()
	if path := cluster.Bin(name); exists(path) {
		return path
	}
	t.Skipf("there is no %s beside the server", name)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// dump writes a database as SQL.
func dump(t *testing.T, cluster *dbtest.Cluster, url string, options ...string) []byte {
	t.Helper()
	out, err := osexec.CommandContext(t.Context(), program(t, cluster, "pg_dump"), append(options, url)...).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return out
}

// restore runs what dump has written. Between two parts of it, something may be
// done.
func restore(t *testing.T, cluster *dbtest.Cluster, url string, parts ...any) {
	t.Helper()
	command := osexec.CommandContext(t.Context(), program(t, cluster, "psql"),
		"-q", "-v", "ON_ERROR_STOP=1", "-o", filepath.Join(t.TempDir(), "out"), url)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		switch part := part.(type) {
		case []byte:
			_, err = in.Write(part)
		case func():
			part()
		}
		if err != nil {
			break // psql has ended, and says why
		}
	}
	in.Close()
	if err := command.Wait(); err != nil {
		t.Fatalf("restore: %v: %s", err, said.Bytes())
	}
}

// A dump is restored into a new cluster, whose counter of transactions is
// elsewhere: what it carries is neither delivered, now or when the counter gets
// there, nor hidden.
func TestRestore_IntoAnotherCluster(t *testing.T) {
	t.Parallel()
	origin, target := dbtest.NewCluster(t), dbtest.NewCluster(t)
	url := target.Database(t, "restored")
	there := dbtest.Connect(t, origin.URL(""))
	open1, open2 := dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, open1, `CREATE TABLE public.own (n int); BEGIN; INSERT INTO own VALUES (1)`)
	running := scalar[uint64](t, open1, `SELECT pg_current_xact_id()`)

	source := open(t, db.Config{URL: origin.URL("")})
	follow(t, source)
	burn(t, there, 700)
	for _, key := range []string{"past", "collides", "ahead", "many"} {
		exec(t, there, `INSERT INTO notifier.events (key, recipient) VALUES ($1, 'u')`, key)
	}
	exec(t, there, `INSERT INTO notifier.events (key, recipient) SELECT 'many', 'u' FROM generate_series(1, 12000)`)
	retain(t, source)
	exec(t, there, `UPDATE notifier.events SET txid = $1 WHERE key = 'collides'`, running)
	exec(t, there, `UPDATE notifier.events SET txid = '10' WHERE key = 'past'`)
	exec(t, there, `UPDATE notifier.events SET txid = (txid::text::bigint + 1000000000)::text::xid8 WHERE key = 'ahead'`)
	ofOrigin := cursorHere(t, there)
	restore(t, target, url, dump(t, origin, origin.URL("")))

	exec(t, open2, `BEGIN; INSERT INTO notifier.events (key, recipient) VALUES ('open meanwhile', 'u')`)
	d := open(t, db.Config{URL: url, PollInterval: 20 * time.Millisecond})
	l := follow(t, d)
	conn := dbtest.Connect(t, url)
	here := cursorHere(t, conn)
	exec(t, open1, `INSERT INTO notifier.events (key, recipient) VALUES ('collided', 'u')`)
	exec(t, open1, `COMMIT`)
	exec(t, open2, `COMMIT`)
	burn(t, conn, 2000)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('new', 'u')`)
	l.waitFor(t, 3)
	if got, want := fmt.Sprint(sorted(l.keys())), "[collided new open meanwhile]"; got != want {
		t.Errorf("came %s, want %s", got, want)
	}
	if got := replayed(t, d, "u", l.Point()); len(got) != 12004+3 {
		t.Errorf("replayed %d events, want all %d", len(got), 12007)
	}
	wantResumable(t, d, "of the origin", ofOrigin, false)
	wantResumable(t, d, "of the new cluster", here, true)
	if got := scalar[int](t, conn, `SELECT count(*) FROM notifier.positions WHERE isfinite(taken_at)`); got != 0 {
		t.Errorf("%d positions of the origin are left", got)
	}
	if removed := retain(t, d); removed != 0 {
		t.Errorf("retention removed %d of what was restored just now", removed)
	}
}

// In the same cluster, the ids have the same counter.
func TestRestore_AsAnotherDatabase(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t)
	conn := dbtest.Connect(t, cluster.URL(""))
	source := open(t, db.Config{URL: cluster.URL("")})
	original := follow(t, source)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('a', 'u'), ('b', 'u')`)
	old := cursorHere(t, conn)
	url := cluster.Database(t, "copied")
	restore(t, cluster, url, dump(t, cluster, cluster.URL("")))

	copied := dbtest.Connect(t, url)
	d := open(t, db.Config{URL: url})
	l := follow(t, d)
	exec(t, copied, `INSERT INTO notifier.events (key, recipient) VALUES ('new', 'u')`)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('of the original', 'u')`)
	l.waitFor(t, 1)
	original.waitFor(t, 3)
	if got := fmt.Sprint(l.keys(), original.keys()); got != "[new] [a b of the original]" {
		t.Errorf("came %s", got)
	}
	if got := fmt.Sprint(replayed(t, d, "u", l.Point())); got != "[a b new]" {
		t.Errorf("replayed %s", got)
	}
	wantResumable(t, d, "of the original", old, false)
	wantResumable(t, source, "of its own", old, true)
}

// A database is dropped and restored while an instance follows it.
func TestRestore_OverARunningInstance(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t)
	url := cluster.Database(t, "restored")
	admin := dbtest.Connect(t, cluster.URL(""))
	restore(t, cluster, url, dump(t, cluster, cluster.URL("")))
	var said logText
	d := open(t, db.Config{URL: url, Logger: said.logger(), PollInterval: 20 * time.Millisecond})
	l := follow(t, d)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('dumped', 'u')`)
	retain(t, d)
	text := dump(t, cluster, url)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('lost', 'u')`)
	l.waitFor(t, 2)
	old := cursorHere(t, conn)

	// What is loaded after the events comes when the instance is back: it must wait.
	exec(t, admin, `DROP DATABASE restored WITH (FORCE)`)
	exec(t, admin, `CREATE DATABASE restored`)
	half := bytes.Index(text, []byte("COPY notifier.goose_db_version"))
	indexes := bytes.Index(text, []byte("ADD CONSTRAINT events_pkey"))
	if half < 0 || indexes < half {
		t.Fatal("the dump is not in the order that is expected")
	}
	restore(t, cluster, url, text[:half], func() {
		dbtest.Eventually(t, "the instance waits", func() bool { return said.contains("still being restored") })
		if _, err := d.RetainOnce(t.Context()); err == nil {
			t.Error("retention goes by what is half restored")
		}
	}, text[half:])
	dbtest.Eventually(t, "the instance follows it", func() bool {
		starts, _ := l.begun()
		return starts == 2 && d.Ready() == nil
	})
	conn = dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('new', 'u')`)
	l.waitFor(t, 3)
	if got := fmt.Sprint(l.keys()); got != "[dumped lost new]" {
		t.Errorf("came %s", got)
	}
	if got := fmt.Sprint(replayed(t, d, "u", l.Point())); got != "[dumped new]" {
		t.Errorf("replayed %s", got)
	}
	if !said.contains("the log is another one now") {
		t.Error("nothing was said of it")
	}
	wantResumable(t, d, "from before", old, false)
	wantResumable(t, d, "of now", cursorHere(t, conn), true)
	wantResumable(t, d, "of the feed", notifier.Cursor{History: l.start().History, Point: l.Point(), Anchor: l.start().Anchor}, true)
}

// Several instances share the work of adopting restored events, and none goes on
// before it is done.
func TestAdopt_InstancesAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	exec(t, conn, `INSERT INTO notifier.events (txid, key) SELECT (1000000000 + i / 7)::text::xid8, 'restored' FROM generate_series(1, 33000) AS i`)
	exec(t, conn, `UPDATE notifier.histories SET system_identifier = 1`)
	exec(t, conn, `INSERT INTO notifier.positions VALUES (now() - interval '8 days', '2000000000:2000000000:')`)
	var logs []*log
	for range 3 {
		l := newLog()
		logs = append(logs, l)
		feed(t, open(t, db.Config{URL: url}), l)
	}
	d := open(t, db.Config{URL: url})
	if removed := retain(t, d); removed != 0 {
		t.Errorf("retention removed %d by a foreign position", removed)
	}
	for _, l := range logs {
		dbtest.Eventually(t, "an instance begins", func() bool { starts, _ := l.begun(); return starts == 1 })
		if p := l.start().Position; p.Xmax() > 1_000_000_000 || !p.Ended(3) {
			t.Errorf("an instance begins at %v", p)
		}
	}
	if got := fmt.Sprint(column[string](t, conn, `SELECT DISTINCT txid FROM notifier.events`)); got != "[3]" {
		t.Errorf("the events have the transactions %s", got)
	}
	if got := replayAny(t, d, logs[0].Point(), notifier.Filter{Since: time.Unix(0, 0)}); len(got) != 33000 {
		t.Errorf("%d of the events are replayed by their time", len(got))
	}
	// Later, what is known of times no longer holds.
	exec(t, conn, `UPDATE notifier.positions SET latest = '-infinity'`)
	exec(t, conn, `INSERT INTO notifier.events (txid, key) VALUES ('1000000000', 'restored')`)
	exec(t, conn, `UPDATE notifier.histories SET system_identifier = 1`)
	retain(t, d)
	if got := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.positions WHERE latest = '-infinity'`); got != 0 {
		t.Errorf("%d positions still rule out what was restored", got)
	}
}

// The tables are replaced while an instance is connected, in one transaction: no
// connection ends, and no statement fails.
func TestRestore_InPlace(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t)
	conn := dbtest.Connect(t, cluster.URL(""))
	d := open(t, db.Config{URL: cluster.URL(""), PollInterval: 20 * time.Millisecond})
	l := follow(t, d)
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('dumped', 'u')`)
	l.waitFor(t, 1)
	old := cursorHere(t, conn)
	text := dump(t, cluster, cluster.URL(""), "--clean")
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('lost', 'u')`)
	l.waitFor(t, 2)
	restore(t, cluster, cluster.URL(""), []byte("BEGIN;\n"), text, []byte("COMMIT;\n"))
	dbtest.Eventually(t, "the instance notices", func() bool {
		starts, _ := l.begun()
		return starts == 2 && d.Ready() == nil
	})
	conn = dbtest.Connect(t, cluster.URL(""))
	exec(t, conn, `INSERT INTO notifier.events (key, recipient) VALUES ('new', 'u')`)
	l.waitFor(t, 3)
	if got := fmt.Sprint(l.keys()); got != "[dumped lost new]" {
		t.Errorf("came %s", got)
	}
	wantResumable(t, d, "from before", old, false)
}
