package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A trigger that runs before the end of its transaction takes no lock, because that may stay open, and says nothing of
// when the grant will be.
func TestOrder_ChangeThatIsNotAtTheEndOfItsTransaction(t *testing.T) {
	t.Parallel()
	const both = "SELECT notifier.access_changed(); " + grant + "; " + revoke
	for name, statements := range map[string][]string{
		"immediate before":               {"SET CONSTRAINTS ALL IMMEDIATE", both},
		"that speaks of a commit":        {both, "DO $$ BEGIN SET CONSTRAINTS ALL -- COMMIT\nIMMEDIATE; END $$"},
		"immediate after":                {both, "set constraints all\n/* */ Immediate"},
		"by name":                        {both, "SET CONSTRAINTS notifier.write_change IMMEDIATE"},
		"in a function":                  {both, "DO $$ BEGIN SET CONSTRAINTS ALL IMMEDIATE; END $$"},
		"in a function, as dynamic text": {both, "DO $$ BEGIN EXECUTE 'SET CONSTRAINTS ALL IMM' || 'EDIATE'; END $$"},
		"in an SQL function":             {both, "SELECT immediate()"},
		"in a long text":                 {both + "/*" + strings.Repeat("-", 100_000) + "*/; SET CONSTRAINTS ALL IMMEDIATE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			exec(t, o.changer, "CREATE FUNCTION immediate() RETURNS void LANGUAGE sql AS 'SET CONSTRAINTS ALL IMMEDIATE'")
			exec(t, o.changer, "BEGIN")
			exec(t, o.changer, statements...)
			if held := scalar[int](t, o.others, "SELECT count(*)::int FROM pg_locks WHERE classid = 1853059945 AND mode = 'ExclusiveLock' AND pid = $1",
				int(o.changer.PgConn().PID())); held != 0 {
				t.Errorf("holds %d locks", held)
			}
			e := event(t, o.writer)
			exec(t, o.changer, "COMMIT")
			o.want("before the commit", e, "changed ?", "granted ?", "revoked before")
			o.nothingLeft()
		})
	}
}

// At the end it may be whatever way it comes.
func TestOrder_EveryKindOfCommit(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"by itself":                  {grant},
		"by a function":              {"SELECT notifier.access_changed()"},
		"commit":                     {"BEGIN", grant, "COMMIT"},
		"end":                        {"BEGIN", grant, "END AND CHAIN", "ROLLBACK"},
		"procedure":                  {"CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN " + grant + "; COMMIT; END $$", "CALL p()"},
		"deferred again":             {"BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED", grant, "COMMIT"},
		"one string":                 {"BEGIN; " + grant + "; COMMIT"},
		"given up":                   {"BEGIN", "SAVEPOINT s", grant, "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", grant, "COMMIT"},
		"fired early and taken back": {"BEGIN", grant, "SAVEPOINT s", "SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK TO s", "COMMIT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			exec(t, o.changer, statements...)
			all := changes(t, o.others, 0)
			if len(all) != 1 || all[0].payload.Snapshot == "" {
				t.Errorf("the changes are %+v, want one with its place", all)
			}
			o.nothingLeft()
		})
	}
}

// protocols are the two ways to send a statement.
var protocols = map[string]func(t *testing.T, conn *pgx.Conn, statements ...string){
	"simple": exec,
	"extended": func(t *testing.T, conn *pgx.Conn, statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if err := conn.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, nil).Read().Err; err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	},
}

// A prepared transaction stays open: its grant has no place, and others are not held up.
func TestOrder_PreparedGrant(t *testing.T) {
	t.Parallel()
	for protocol, exec := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			o := newOrder(t)
			name := "'" + protocol + " grant'" // belongs to the cluster
			exec(t, o.changer, "SET notifier.doorbell = off", "BEGIN", grant, "PREPARE TRANSACTION "+name)
			e := event(t, o.writer)
			exec(t, o.changer, "COMMIT PREPARED "+name)
			o.want("before the commit", e, "granted ?")
			o.nothingLeft()
		})
	}
}

// In the extended protocol, too, the trigger knows a commit from what is none.
func TestOrder_ExtendedProtocol(t *testing.T) {
	t.Parallel()
	exec := protocols["extended"]
	for last, want := range map[string]string{"SET CONSTRAINTS ALL IMMEDIATE": "granted ?", "SELECT": "granted after"} {
		o := newOrder(t)
		e := event(t, o.writer)
		exec(t, o.changer, "BEGIN", grant, last, "COMMIT")
		o.want("before", e, want)
		o.nothingLeft()
	}
	o := newOrder(t)
	e := event(t, o.writer)
	exec(t, o.changer, grant)
	o.want("before", e, "granted after")
}

// A savepoint takes its grant back: what is left only revokes, and waits for nobody.
func TestOrder_GrantRolledBackToASavepoint(t *testing.T) {
	t.Parallel()
	o := newOrder(t)
	exec(t, o.others, "INSERT INTO notifier.dataset_permissions VALUES ('b', 'd')")
	start := lastID(t, o.others)
	hold(t, o.others.Config().ConnString(), tailExclusive)
	exec(t, o.changer, "BEGIN", "SAVEPOINT s", grant, "ROLLBACK TO s", revoke, "COMMIT")
	all := changes(t, o.others, start)
	if len(all) != 1 || all[0].what != "revoked b d" {
		t.Errorf("the changes are %v", whats(all))
	}
}
