package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/notifier/db/embedded"
	"example.com/notifier/db/embedded/temporary"
)

// Replica starts a hot standby that streams from the cluster, and ends with the test. It is made
// from a copy of the folder, for which the cluster is stopped for a moment and all its
// connections end.
func (c *Cluster) Replica(t testing.TB) *Cluster {
	t.Helper()
	if _, err := exec.LookPath("cp"); err != nil {
		t.Skip("no cp to copy a cluster's folder with")
	}
	config := embedded.Config{Settings: c.settings}
	if _, err := Connect(t, c.URL("")).Exec(t.Context(), "CHECKPOINT"); err != nil { // commits need not be on the disk
		t.Fatalf("bring all to the disk: %v", err)
	}
	g, err := temporary.StartPrepared(t.Context(), config, func(dir string) error { return c.copyTo(t.Context(), dir) })
	if err != nil {
		t.Fatalf("start replica: %v", err)
	}
	t.Cleanup(func() { closeCluster(t, g) })
	return &Cluster{Server: g.Server, settings: c.settings}
}

// copyTo makes a folder for a standby.
func (c *Cluster) copyTo(ctx context.Context, dir string) error {
	if err := c.Crash(); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	copying := exec.CommandContext(ctx, "cp", "-pR", filepath.Join(c.Dir(), "data"), data)
	out, err := copying.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("copy the folder: %w: %s", err, out)
	}
	if err := errors.Join(err, c.Restart(ctx)); err != nil {
		return err
	}
	// The file is included, and not the server's arguments, so that Detach can undo it.
	settings, err := os.OpenFile(filepath.Join(data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer settings.Close()
	if _, err := fmt.Fprintf(settings, "primary_conninfo = '%s'\n", c.URL("")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644)
}

// CatchUp waits until the replica has replayed all that the primary has written by now.
func (c *Cluster) CatchUp(t testing.TB, primary *Cluster) {
	t.Helper()
	var until string // the insertion, as commits need not be written yet
	if err := Connect(t, primary.URL("")).QueryRow(t.Context(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&until); err != nil {
		t.Fatalf("where the primary is: %v", err)
	}
	conn := Connect(t, c.URL(""))
	Eventually(t, "the replica has caught up", func() bool {
		var done bool
		err := conn.QueryRow(t.Context(), "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", until).Scan(&done)
		return err == nil && done
	})
}

// Detach stops the replica from receiving: what the primary writes from now on does not reach it.
func (c *Cluster) Detach(t testing.TB) {
	t.Helper()
	conn := Connect(t, c.URL(""))
	for _, sql := range []string{"ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	Eventually(t, "the replica receives nothing any more", func() bool {
		var receiving bool
		err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver)").Scan(&receiving)
		return err == nil && !receiving
	})
}

// Promote makes the replica a primary, on a timeline of its own.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	var done bool
	err := Connect(t, c.URL("")).QueryRow(t.Context(), "SELECT pg_promote(true, 60)").Scan(&done)
	if err != nil || !done {
		t.Fatalf("promote the replica: %t, %v", done, err)
	}
}
