package db_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
)

// quietWAL makes a private cluster in which almost nothing but a commit brings
// the log of transactions to the disk, so that a crash takes back all the rest.
func quietWAL(t testing.TB) *dbtest.Cluster {
	t.Helper()
	return dbtest.NewCluster(t, dbtest.Durable(), dbtest.Settings(map[string]string{
		"wal_writer_delay":       "10s",
		"wal_writer_flush_after": "1GB",
		"autovacuum":             "off",
		"bgwriter_lru_maxpages":  "0",
	}))
}

// crash stops the server as a loss of power would and starts it again.
func crash(t *testing.T, c *dbtest.Cluster) {
	t.Helper()
	if err := c.Crash(); err != nil {
		t.Fatalf("crash: %v", err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatalf("restart after the crash: %v", err)
	}
}
