package migrations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// What could fail when somebody writes is refused when the table is to be watched.
func TestWatch_Refuses(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues,
		"CREATE TABLE keyless (id int)",
		"CREATE VIEW shown AS SELECT * FROM issues",
		"CREATE TEMP TABLE passing (id int PRIMARY KEY)",
		`CREATE TABLE odd (id int PRIMARY KEY, "notifier: new" int)`)
	for args, want := range map[string]string{
		`'issues', 't'`:                                                       "neither dataset nor recipient",
		`'issues', '', public => true`:                                        "event_type is needed",
		`'issues', NULL, public => true`:                                      "event_type is needed",
		`NULL, 't', public => true`:                                           "no such table",
		`0, 't', public => true`:                                              "no such table",
		`'keyless', 't', public => true`:                                      "no primary key",
		`'shown', 't', public => true, key => 'id'`:                           "must be an ordinary or partitioned table",
		`'passing', 't', public => true`:                                      "must be an ordinary or partitioned table",
		`'pg_class', 't', public => true`:                                     "must be an ordinary or partitioned table",
		`'notifier.events', 't', public => true`:                              "must be an ordinary or partitioned table",
		`'notifier.dropped', 't', public => true`:                             "must be an ordinary or partitioned table",
		`'odd', 't', public => true, payload => 'id'`:                         `it has a column "notifier: new"`,
		`'issues', 't', dataset => 'nothing'`:                                 `column "nothing" does not exist`,
		`'issues', 't', dataset => 'old.dataset_id'`:                          "dataset is neither a column",
		`'issues', 't', public => true, key => 'id,nothing'`:                  "key is neither a column",
		`'issues', 't', public => true, key => 'old.id'`:                      "key is neither a column",
		`'issues', 't', public => true, key => ''`:                            "key is neither a column",
		`'issues', 't', public => true, columns => '{id,nothing}'`:            "columns: there is no column nothing",
		`'issues', 't', public => true, without => '{nothing}'`:               "without: there is no column nothing",
		`'issues', 't', public => true, changes => '{nothing}'`:               "changes: there is no column nothing",
		`'issues', 't', public => true, columns => '{id}', without => '{id}'`: "one of them at the most",
		`'issues', 't', public => true, columns => '{id}', payload => 'id'`:   "one of them at the most",
		`'issues', 't', public => true, condition => 'id'`:                    "must be type boolean, not type integer",
		`'issues', 't', public => true, condition => 'old.id = 1'`:            "condition is neither a column",
		`'issues', 't', public => true, condition => 'id >'`:                  "condition is neither a column",
		`'issues', 't', public => true, payload => 'app.nothing(id)'`:         "payload is neither a column",
		`'issues', 't', public => true, payload => 'generate_series(1, id)'`:  "set-returning",
		`'issues', 't', public => true, payload => '$1'`:                      "payload is neither a column",
		`'issues', 't', public => true, key => '$1'`:                          "there are no parameters",
		`'issues', 't', public => true, payload => 'title FROM app.issues'`:   "payload is neither a column",
		`'issues', 't', public => true, payload => '(SELECT id FROM issues)'`: `relation "issues" does not exist`,
		`'issues', 't', public => true, payload => 'tg_op'`:                   "payload is neither a column",
		`'issues', 't', public => true, payload => 'old.nothing'`:             "payload is neither a column",
		`'issues', 't', public => true, payload => 'place.key'`:               "payload is neither a column",
		`'issues', 't', public => true, principal => 'id /* '`:                "principal is neither a column",
		`'issues', 't', public => true, actions => '{}'`:                      "actions are create, update, destroy, truncate",
		`'issues', 't', public => true, actions => '{create,delete}'`:         "actions are create, update, destroy, truncate",
		`'issues', 't', public => true, actions => '{create,NULL}'`:           "actions are create, update, destroy, truncate",
	} {
		_, err := a.owner.Exec(t.Context(), "SELECT notifier.watch_table("+args+")")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	exec(t, a.owner, "DISCARD TEMP") // or it goes while the roles do, which fails
	a.expectWatched("after all that was refused")
	if role := scalar[string](t, a.owner, "SELECT current_setting('role')"); role != "none" {
		t.Errorf("goes on as %s", role)
	}
}

func TestWatch_RefusesForeignTables(t *testing.T) {
	t.Parallel()
	a := newApplication(t, parts)
	exec(t, a.admin,
		"CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
		"CREATE TABLE q (id int, k text) PARTITION BY LIST (k)",
		"CREATE FOREIGN TABLE qa PARTITION OF q FOR VALUES IN ('a') SERVER nowhere")
	refused(t, a.admin, "42809", "SELECT notifier.watch_table('q', 't', public => true, key => 'id')")
	refused(t, a.admin, "42809", "SELECT notifier.watch_table('qa', 't', public => true, key => 'id')")
}

// Whom to ask for which right is in the message.
func TestWatch_RightsOfTheOwner(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	const watch = "SELECT notifier.watch_table('app.issues', 't', public => true)"
	demand := func(hint string) {
		t.Helper()
		_, err := a.admin.Exec(t.Context(), watch)
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pgErr.Code != insufficientPrivilege || !strings.HasPrefix(pgErr.Hint, hint) {
			t.Errorf("got %v, want the hint %s", err, hint)
		}
	}
	exec(t, a.admin, "REVOKE notifier_publisher FROM "+a.ownerName)
	demand("GRANT notifier_publisher TO ")
	exec(t, a.admin, "GRANT notifier_publisher TO "+a.ownerName, "ALTER SCHEMA app OWNER TO CURRENT_USER", "GRANT USAGE ON SCHEMA app TO "+a.ownerName)
	demand("GRANT CREATE ON SCHEMA app TO ")
	exec(t, a.admin, "GRANT CREATE ON SCHEMA app TO "+a.ownerName, watch)
	a.tells("INSERT INTO issues (id) VALUES (1)", `create 1 {"id":1,"title":null,"dataset_id":null,"owner":null,"secret":null,"twice":2,"seen":null}`)
}
