package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
)

// writer inserts events and knows how often that ran the doorbell's function in the open transaction. The bell
// itself cannot tell: Postgres sends equal notifications of one transaction once.
type writer struct{ *pgx.Conn }

func newWriter(t *testing.T, databaseURL string) writer {
	t.Helper()
	w := writer{dbtest.Connect(t, databaseURL)}
	exec(t, w.Conn, "SET track_functions = 'pl'")
	return w
}

func (w writer) run(t *testing.T, statements ...string) { t.Helper(); exec(t, w.Conn, statements...) }

// queued fires what the transaction has queued and counts it.
func (w writer) queued(t *testing.T) int {
	t.Helper()
	w.run(t, "SET CONSTRAINTS ALL IMMEDIATE")
	return scalar[int](t, w.Conn, "SELECT coalesce(pg_stat_get_xact_function_calls('notifier.ring'::regproc), 0)::int")
}

const (
	one  = "INSERT INTO notifier.events (type) VALUES ('a')"
	many = "INSERT INTO notifier.events (type) SELECT 'a' FROM generate_series(1, 1000)"
)

func TestDoorbell_QueuedOnceInATransaction(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	exec(t, dbtest.Connect(t, url), `CREATE FUNCTION narrow() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
		BEGIN PERFORM notifier.publish('a'); END $$`)
	for name, c := range map[string]struct {
		statements []string
		want       int
	}{
		"one row":                     {[]string{one}, 1},
		"rows of several statements":  {[]string{one, one, "SELECT notifier.publish('a')"}, 1},
		"rows of one statement":       {[]string{many}, 1},
		"no row":                      {[]string{"INSERT INTO notifier.events (type) SELECT 'a' WHERE false"}, 0},
		"off":                         {[]string{"SET LOCAL notifier.doorbell = off", one, many}, 0},
		"on":                          {[]string{"SET LOCAL notifier.doorbell = 'on'", one, many}, 1},
		"released savepoint":          {[]string{"SAVEPOINT s", one, "RELEASE s", one}, 1},
		"first row rolled back":       {[]string{"SAVEPOINT s", one, "ROLLBACK TO s", many}, 1},
		"only row rolled back":        {[]string{"SAVEPOINT s", one, "ROLLBACK TO s"}, 0},
		"later row rolled back":       {[]string{one, "SAVEPOINT s", one, "ROLLBACK TO s", one}, 1},
		"nested savepoints":           {[]string{"SAVEPOINT s", "SAVEPOINT r", one, "RELEASE r", "ROLLBACK TO s", one, one}, 1},
		"exception block":             {[]string{"DO $$ BEGIN " + one + "; RAISE 'x'; EXCEPTION WHEN OTHERS THEN END $$", one, one}, 1},
		"function with a search_path": {[]string{"SELECT narrow()", "SELECT narrow()", one}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWriter(t, url)
			w.run(t, "BEGIN")
			w.run(t, c.statements...)
			if got := w.queued(t); got != c.want {
				t.Errorf("the doorbell was queued %d times, want %d", got, c.want)
			}
			w.run(t, "ROLLBACK")
		})
	}
}

func TestDoorbell_Rings(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	conn := dbtest.Connect(t, url)
	exec(t, conn, "CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN "+one+"; COMMIT; "+one+"; COMMIT; END $$")
	for _, c := range []struct {
		name       string
		statements []string
		want       int
	}{
		{"one row", []string{one}, 1},
		{"two transactions", []string{one, one}, 2},
		{"bulk insert", []string{many}, 1},
		{"simple multi-statement query", []string{one + ";" + one}, 1},
		{"transactions of a procedure", []string{"CALL commits()"}, 2},
		{"rolled back", []string{"BEGIN", one, "ROLLBACK"}, 0},
		{"after one that was rolled back", []string{one}, 1},
		{"savepoint with the first row rolled back", []string{"BEGIN", "SAVEPOINT s", one, "ROLLBACK TO s", one, "COMMIT"}, 1},
		{"savepoint with the only row rolled back", []string{"BEGIN", "SAVEPOINT s", one, "ROLLBACK TO s", "COMMIT"}, 0},
		{"all constraints immediate", []string{"BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", one, one, "COMMIT"}, 1},
		{"constraints made immediate later", []string{"BEGIN", one, "SET CONSTRAINTS ALL IMMEDIATE", one, "COMMIT"}, 1},
		{"rung in a savepoint rolled back", []string{
			"BEGIN", "SAVEPOINT s", one, "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", one, "COMMIT"}, 1},
		{"rung early, and that rolled back", []string{
			"BEGIN", one, "SAVEPOINT s", "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", "COMMIT"}, 1},
		{"read only from the middle on", []string{"BEGIN", one, "SET TRANSACTION READ ONLY", "COMMIT"}, 1},
		{"repeatable read", []string{"SET default_transaction_isolation = 'repeatable read'", one, many}, 2},
		{"serializable", []string{"SET default_transaction_isolation = 'serializable'", one, many}, 2},
		{"asynchronous commit", []string{"SET synchronous_commit = off", one, "RESET ALL"}, 1},
		{"off", []string{"SET notifier.doorbell = off", one, many, "RESET ALL"}, 0},
		{"after off", []string{one}, 1},
		{"an order", []string{"SELECT notifier.drop_user('joe')"}, 1},
	} {
		exec(t, conn, c.statements...)
		if got := bell.heard(t); got != c.want {
			t.Errorf("%s: the bell rang %d times, want %d", c.name, got, c.want)
		}
	}
}

func TestDoorbell_CopyRingsOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	rows := pgx.CopyFromSlice(1000, func(int) ([]any, error) { return []any{"a"}, nil })
	if _, err := dbtest.Connect(t, url).CopyFrom(t.Context(), pgx.Identifier{"notifier", "events"}, []string{"type"}, rows); err != nil {
		t.Fatal(err)
	}
	if got := bell.heard(t); got != 1 {
		t.Errorf("the bell rang %d times, want once", got)
	}
}

// A role that needs two-phase commit publishes silently and is found by the poll.
func TestDoorbell_PrepareTransaction(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	bell := listen(t, url)
	conn := dbtest.Connect(t, url)

	exec(t, conn, "BEGIN", one)
	refused(t, conn, featureNotSupported, "PREPARE TRANSACTION 'loud'") // Postgres' own answer to any NOTIFY

	exec(t, conn, "BEGIN", "SET LOCAL notifier.doorbell = off", one, "PREPARE TRANSACTION 'silent'")
	if !tailFree(t, conn) {
		t.Error("the prepared transaction holds the tail lock")
	}
	exec(t, conn, "COMMIT PREPARED 'silent'")
	if n := scalar[int](t, conn, "SELECT count(*)::int FROM notifier.events"); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if got := bell.heard(t); got != 0 {
		t.Errorf("the bell rang %d times, want never", got)
	}
}
