package dbtest_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestReplica_FollowsUntilItIsDetachedAndPromoted(t *testing.T) {
	t.Parallel()
	primary := dbtest.NewCluster(t, dbtest.Unmigrated())
	replica := primary.Replica(t)
	proxy := dbtest.NewProxy(t, primary.URL(""))
	write := func(value string) {
		t.Helper()
		_, err := dbtest.Connect(t, proxy.URL()).Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t (v text)")
		if err == nil {
			_, err = dbtest.Connect(t, proxy.URL()).Exec(t.Context(), "INSERT INTO t VALUES ($1)", value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("replicated")
	replica.CatchUp(t, primary)
	replica.Detach(t)
	write("not replicated")
	replica.Promote(t)
	proxy.Target(t, replica.URL(""))
	write("on the new primary")
	var got string
	err := dbtest.Connect(t, replica.URL("")).QueryRow(t.Context(), "SELECT string_agg(v, ', ' ORDER BY v) FROM t").Scan(&got)
	if err != nil || got != "on the new primary, replicated" {
		t.Errorf("the new primary has %q, %v", got, err)
	}
}
