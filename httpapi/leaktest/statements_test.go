package leaktest

import (
	"bytes"
	"os"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"github.com/google/go-cmp/cmp"
)

// statements counts, by their names, those that a server has written into its
// log.
func statements(t *testing.T, cluster *dbtest.Cluster) map[string]int {
	t.Helper()
	text, err := os.ReadFile(cluster.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, part := range bytes.Split(text, []byte("-- name: "))[1:] {
		name, _, _ := bytes.Cut(part, []byte("\n"))
		counts[string(name)]++
	}
	return counts
}

// However many subscribers of however many users want an event, the policy is
// asked about a page at once: in one statement if it knows nothing of them, and
// in none if nothing has changed.
func TestPolicy_OneStatementPerPageColdAndNoneWarm(t *testing.T) {
	t.Parallel()
	const subscribers, sets = 1000, 5
	cluster := dbtest.NewCluster(t, dbtest.Settings(map[string]string{"log_statement": "all", "log_parameter_max_length": "0"}))
	conn := dbtest.Connect(t, cluster.URL(""))
	exec(t, conn, `INSERT INTO notifier.users (user_id) SELECT 'u' || i FROM generate_series(0, $1 - 1) AS i`, subscribers)
	exec(t, conn, `INSERT INTO notifier.dataset_permissions
		SELECT 'u' || i, 'd' || j FROM generate_series(0, $1 - 1) AS i, generate_series(1, $2) AS j`, subscribers, sets)
	i := start(t, db.Config{URL: cluster.URL("")})
	i.passed(t, conn)
	var boxes []*inbox
	for u := range subscribers {
		boxes = append(boxes, i.watch(t, userName(u), false))
	}
	publish := `INSERT INTO notifier.events (type, dataset_id) SELECT 't', 'd' || (i % $1 + 1) FROM generate_series(1, 50) AS i`
	// asked is how often the policy was, and how often it was looked up what it
	// may know that the feed does not.
	asked := func() (policy, controls int) {
		t.Helper()
		before := statements(t, cluster)
		exec(t, conn, publish, sets)
		i.passed(t, conn)
		after := statements(t, cluster)
		for _, name := range []string{"ask", "ask_warily", "admit"} {
			policy += after[name] - before[name]
		}
		return policy, after["read_controls"] - before["read_controls"]
	}
	want := func(when string, want int) {
		t.Helper()
		policy, controls := asked()
		if policy != want || controls > want {
			t.Errorf("%s: the policy is asked %d times, and changes are looked for %d times, want %d", when, policy, controls, want)
		}
	}
	want("cold", 1)
	for range 3 {
		want("warm", 0)
	}
	exec(t, conn, `DELETE FROM notifier.dataset_permissions WHERE user_id = 'u7' AND dataset_id = 'd1'`)
	i.passed(t, conn)
	want("after one user's permission was revoked, which is asked about at once", 0)
	exec(t, conn, `SELECT notifier.access_changed()`)
	i.passed(t, conn)
	want("after everything may have changed", 1)
	got := map[int]int{}
	for _, box := range boxes {
		got[len(box.received())]++
	}
	if diff := cmp.Diff(map[int]int{300: subscribers - 1, 280: 1}, got); diff != "" {
		t.Errorf("subscribers by the number of their events (-want +got):\n%s", diff)
	}
}
