package dbtest_test

import (
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestNewCluster_SurvivesItsCrash(t *testing.T) {
	t.Parallel()
	c := dbtest.NewCluster(t, dbtest.Durable(), dbtest.Settings(map[string]string{"max_connections": "23"}))
	conn := dbtest.Connect(t, c.URL(""))
	var limit string
	if err := conn.QueryRow(t.Context(), "SHOW max_connections").Scan(&limit); err != nil || limit != "23" {
		t.Errorf("max_connections %q, %v", limit, err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a crashed server answers")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := dbtest.Connect(t, c.URL("")).QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil || n != 1 {
		t.Errorf("rows after the crash: %d, %v", n, err)
	}
}

func TestCluster_Database(t *testing.T) {
	t.Parallel()
	c := dbtest.NewCluster(t, dbtest.Unmigrated())
	url := c.Database(t, "another")
	if !strings.Contains(url, "/another?") {
		t.Errorf("URL %s", url)
	}
	if err := dbtest.Connect(t, url).Ping(t.Context()); err != nil {
		t.Fatalf("ping: %v", err)
	}
}
