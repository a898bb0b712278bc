package db_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
)

// planNode is a node of what EXPLAIN says in JSON.
type planNode struct {
	Type    string     `json:"Node Type"`
	Index   string     `json:"Index Name"`
	Table   string     `json:"Relation Name"`
	Rows    float64    `json:"Actual Rows"`
	Loops   float64    `json:"Actual Loops"`
	Removed float64    `json:"Rows Removed by Filter"`
	Hit     int        `json:"Shared Hit Blocks"`
	Read    int        `json:"Shared Read Blocks"`
	Plans   []planNode `json:"Plans"`
}

// explain runs a statement with arguments written as SQL, as the feed would:
// prepared, and under the feed's settings.
func explain(t *testing.T, conn *pgx.Conn, sql string, args ...string) planNode {
	t.Helper()
	if _, err := conn.Prepare(t.Context(), "explained", sql); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	text := scalar[[]byte](t, conn, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained(`+strings.Join(args, ", ")+`)`)
	if err := conn.Deallocate(t.Context(), "explained"); err != nil {
		t.Fatalf("deallocate: %v", err)
	}
	var answer []struct{ Plan planNode }
	if err := json.Unmarshal(text, &answer); err != nil || len(answer) != 1 {
		t.Fatalf("read the plan: %v in %s", err, text)
	}
	t.Logf("plan: %s", text)
	return answer[0].Plan
}

// scans returns the nodes that read the table of events.
func (n *planNode) scans() []planNode {
	var all []planNode
	if n.Table == "events" || n.Type == "Bitmap Index Scan" {
		all = append(all, *n)
	}
	for i := range n.Plans {
		all = append(all, n.Plans[i].scans()...)
	}
	return all
}

// wantScan checks that the events are found by nothing but an index, that no row
// is looked at in vain, and how many blocks all of it takes.
func (n *planNode) wantScan(t *testing.T, index string, rows float64, blocks int) {
	t.Helper()
	scans := n.scans()
	if len(scans) != 1 || !strings.HasPrefix(scans[0].Type, "Index") || scans[0].Index != index {
		t.Errorf("the events are found by %+v, want only the index %s", scans, index)
		return
	}
	// Up to Postgres 17, rows are told per loop, rounded.
	if s := scans[0]; s.Removed != 0 || s.Rows*s.Loops > rows+s.Loops/2 {
		t.Errorf("%v rows found and %v thrown away, want %v and none", s.Rows*s.Loops, s.Removed, rows)
	}
	if n.Hit+n.Read > blocks {
		t.Errorf("%d blocks hit and %d read, want no more than %d", n.Hit, n.Read, blocks)
	}
}

// feedConn is a connection with the settings of the feed's.
func feedConn(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn := dbtest.Connect(t, url)
	exec(t, conn, db.FeedSession)
	return conn
}

func present(t *testing.T, conn *pgx.Conn) notifier.Position {
	t.Helper()
	p, err := notifier.ParsePosition(scalar[string](t, conn, `SELECT pg_current_snapshot()::text`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// explainRead explains the first page of what ended between two positions.
func explainRead(t *testing.T, conn *pgx.Conn, from, to notifier.Position) planNode {
	t.Helper()
	var first, past []string
	for _, r := range notifier.Between(from, to) {
		first, past = append(first, fmt.Sprint(r.First)), append(past, fmt.Sprint(r.End))
	}
	array := func(ids []string) string { return "'{" + strings.Join(ids, ",") + "}'" }
	return explain(t, conn, db.ReadSpan, fmt.Sprint(1<<20), fmt.Sprint(db.PageBytes), array(first), array(past), "0", fmt.Sprint(db.PageRows))
}

// The rows of a bulk transaction that is still open are not visited, wherever it
// lies among those that are read.
func TestTorturePlan_BesideAnOpenBulk(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, writer, bulk := feedConn(t, url), dbtest.Connect(t, url), dbtest.Connect(t, url)
	exec(t, writer, `ALTER TABLE notifier.events SET (autovacuum_enabled = off)`) // it must not tidy up before us
	beforeAll := present(t, conn)
	exec(t, writer, `INSERT INTO notifier.events (key) SELECT 'a' FROM generate_series(1, 10)`)
	before := present(t, conn)
	exec(t, bulk, `BEGIN`)
	exec(t, bulk, `INSERT INTO notifier.events (key, recipient) SELECT 'bulk', 'r' FROM generate_series(1, $1::int)`, scaled(100_000, 1_000_000))
	during := present(t, conn)
	for range 10 {
		exec(t, writer, `INSERT INTO notifier.events (key) VALUES ('b')`)
	}
	after := present(t, conn)
	for _, c := range []struct {
		name     string
		from, to notifier.Position
		rows     float64
	}{
		{"only what follows it", during, after, 10},
		{"what surrounds it", before, after, 10},
		{"what surrounds it, and all before", beforeAll, after, 20},
		{"nothing", after, after, 0},
		{"from where it was in progress", before, during, 0},
	} {
		plan := explainRead(t, conn, c.from, c.to)
		t.Log(c.name)
		plan.wantScan(t, "events_txid", c.rows, 100)
	}
	exec(t, bulk, `ROLLBACK`)
	// Rolled back it is visited once, and found dead; until it is vacuumed away,
	// only the index still has to be passed.
	explainRead(t, conn, before, present(t, conn))
	plan := explainRead(t, conn, before, present(t, conn))
	plan.wantScan(t, "events_txid", 10, scaled(500, 5000))
}

// Whatever the planner knows about the table, or thinks it does, a live read
// goes by the index.
func TestPlan_LiveRead(t *testing.T) {
	t.Parallel()
	const rows = 50_000
	for name, prepare := range map[string]string{
		"empty":      ``,
		"unanalysed": fmt.Sprintf(`INSERT INTO notifier.events (recipient) SELECT i::text FROM generate_series(1, %d) AS i`, rows),
		"analysed":   fmt.Sprintf(`INSERT INTO notifier.events (recipient) SELECT i::text FROM generate_series(1, %d) AS i; ANALYZE notifier.events`, rows),
		"analysed while empty": fmt.Sprintf(`ANALYZE notifier.events;
			INSERT INTO notifier.events (recipient) SELECT i::text FROM generate_series(1, %d) AS i`, rows),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := dbtest.New(t)
			conn, writer := feedConn(t, url), dbtest.Connect(t, url)
			exec(t, writer, `ALTER TABLE notifier.events SET (autovacuum_enabled = off)`)
			if prepare != "" {
				exec(t, writer, prepare)
			}
			from := present(t, conn)
			for range 5 {
				exec(t, writer, `INSERT INTO notifier.events (recipient) VALUES ('r')`)
			}
			plan := explainRead(t, conn, from, present(t, conn))
			plan.wantScan(t, "events_txid", 5, 60)
			last := scalar[int64](t, conn, `SELECT max(id) FROM notifier.events`)
			plan = explain(t, conn, db.ReadIDs, fmt.Sprint(1<<20), fmt.Sprint(db.PageBytes), fmt.Sprintf(`'{%d,%d}'`, last-1, last))
			plan.wantScan(t, "events_pkey", 2, 60)
		})
	}
}

// A page of large payloads costs reading what goes out, not all that might have.
func TestPlan_LargePayloads(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn, writer := feedConn(t, url), dbtest.Connect(t, url)
	exec(t, writer, `ALTER TABLE notifier.events ALTER payload SET STORAGE EXTERNAL`) // as what does not compress
	from := present(t, conn)
	exec(t, writer, `INSERT INTO notifier.events (payload) SELECT to_json(repeat('x', 100000)) FROM generate_series(1, 400)`)
	plan := explainRead(t, conn, from, present(t, conn))
	if plan.Rows < 8 || plan.Rows > 12 || plan.Hit+plan.Read > 500 {
		t.Errorf("%v events took %d blocks hit and %d read", plan.Rows, plan.Hit, plan.Read)
	}
}
