package db_test

import (
	"maps"
	"os"
	osexec "os/exec"
	"testing"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
)

// pgbenchPublishes has each row of pgbench's history published.
const pgbenchPublishes = `
	CREATE FUNCTION publish_history() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM notifier.publish('history', 'insert', NEW.aid::text, row_to_json(NEW));
		RETURN NULL;
	END $$;
	CREATE TRIGGER publish_history AFTER INSERT ON pgbench_history FOR EACH ROW EXECUTE FUNCTION publish_history()`

// pgbench is an application nobody here has written: what a subscriber gets is
// what the table holds.
func TestPgbench(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, c db.Config) {
		program := pgbench(t)
		bench := func(args ...string) {
			t.Helper()
			command := osexec.CommandContext(t.Context(), program, append(args, c.URL)...)
			if out, err := command.CombinedOutput(); err != nil {
				t.Fatalf("pgbench %v: %v: %s", args, err, out)
			}
		}
		bench("-i", "-q")
		conn := dbtest.Connect(t, c.URL)
		exec(t, conn, pgbenchPublishes)
		l := follow(t, open(t, c))
		bench("-c", "8", "-T", "10")
		rows := column[string](t, conn, `SELECT row_to_json(pgbench_history)::text FROM pgbench_history`)
		l.waitFor(t, len(rows))
		want, got := map[string]int{}, map[string]int{}
		for _, row := range rows {
			want[row]++
		}
		for _, e := range l.seen() {
			got[string(e.Payload)]++
		}
		if !maps.Equal(want, got) {
			t.Errorf("the table has %d rows, %d events came, and they are not the same", len(rows), len(l.seen()))
		}
		t.Logf("%d transactions of pgbench arrived", len(rows))
	})
}

// pgbench returns the program: on PATH, or beside the tests' PostgreSQL.
func pgbench(t *testing.T) string {
	t.Helper()
	if path, err := osexec.LookPath("pgbench"); err == nil {
		return path
	}
	if bin := os.Getenv("NOTIFIER_POSTGRES_BIN"); bin != "" {
		if path, err := osexec.LookPath(bin + "/pgbench"); err == nil {
			return path
		}
	}
	t.Skip("pgbench is not installed")
	return ""
}
