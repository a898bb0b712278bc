package db_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// explained is the root of a plan that was run.
type explained []struct {
	Plan struct {
		Hit  int `json:"Shared Hit Blocks"`
		Read int `json:"Shared Read Blocks"`
	}
}

// The functions are no part of the statement's own plan. So this looks at what
// they did: which scans were made, and how many pages were visited.
func TestAsk_UsesIndexesAtAMillionPermissions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a million rows")
	}
	conn := dbtest.Connect(t, dbtest.New(t))
	exec(t, conn, `INSERT INTO notifier.users (user_id) SELECT 'u' || i FROM generate_series(0, 9999) i`)
	exec(t, conn, `
		INSERT INTO notifier.dataset_permissions
		SELECT 'u' || i / 100, 'd' || lpad((i / 100 + i % 100 * 7)::text, 6, '0')
		FROM generate_series(0, 999999) i`)
	if n := scalar[int](t, conn, `SELECT count(*) FROM notifier.events`); n > 3 {
		t.Errorf("%d control rows for two statements", n)
	}
	for _, analyzed := range []bool{false, true} { // statistics may lag behind the first grants
		if analyzed {
			exec(t, conn, `ANALYZE notifier.users, notifier.dataset_permissions`)
		}
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			t.Run(fmt.Sprintf("analyzed=%v %s", analyzed, mode), func(t *testing.T) { askWithIndexes(t, conn, mode) })
		}
	}
}

func askWithIndexes(t *testing.T, conn *pgx.Conn, mode string) {
	const count = 1000
	var users, types, datasets []string
	for i := range count {
		users = append(users, fmt.Sprint("u", i*7))
		types = append(types, "t")
		datasets = append(datasets, fmt.Sprintf("d%06d", i*7+i%100*7))
	}
	exec(t, conn, `BEGIN`)
	defer exec(t, conn, `ROLLBACK`)
	exec(t, conn, `SELECT set_config('plan_cache_mode', $1, true)`, mode)
	plan := scalar[[]byte](t, conn, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+db.AskSQL, users, types, datasets)
	var root explained
	if err := json.Unmarshal(plan, &root); err != nil {
		t.Fatal(err)
	}
	if pages := root[0].Plan.Hit + root[0].Plan.Read; pages == 0 || pages > 15*count {
		t.Errorf("%d pages for %d questions:\n%s", pages, count, plan)
	}
	if n := scalar[int](t, conn, `
		SELECT sum(seq_scan)::int
		FROM pg_stat_xact_user_tables
		WHERE relname IN ('users', 'dataset_permissions')`); n > 0 {
		t.Errorf("%d sequential scans", n)
	}
	var allowed []bool
	var at string
	if err := conn.QueryRow(t.Context(), db.AskSQL, users, types, datasets).Scan(&allowed, &at); err != nil {
		t.Fatal(err)
	}
	for i, a := range allowed {
		if !a {
			t.Fatalf("question %d, %s %s, is answered with no", i, users[i], datasets[i])
		}
	}
}
