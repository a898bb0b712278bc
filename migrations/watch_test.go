package migrations_test

import "testing"

func TestWatch_CreateUpdateDestroy(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'issueUpdate', dataset => 'dataset_id'")
	a.tells("INSERT INTO issues VALUES (1, 'a', 'd1', 'ann', 's')",
		`create 1 d1  {"id":1,"title":"a","dataset_id":"d1","owner":"ann","secret":"s","twice":2,"seen":null}`)
	a.tells("UPDATE issues SET title = 'b', seen = '{\"x\" :  1}'",
		`update 1 d1  {"id":1,"title":"b","dataset_id":"d1","owner":"ann","secret":"s","twice":2,"seen":{"x" :  1}}`)
	a.tells("UPDATE issues SET title = 'b', seen = seen")
	a.tells("DELETE FROM issues",
		`destroy 1 d1  {"id":1,"title":"b","dataset_id":"d1","owner":"ann","secret":"s","twice":2,"seen":{"x" :  1}}`)
	a.tells("INSERT INTO issues SELECT WHERE false")
	a.expectDropped("nothing is wrong")
	if types := scalar[string](t, a.admin, "SELECT string_agg(DISTINCT type, ' ') FROM notifier.events"); types != "issueUpdate" {
		t.Errorf("types %s", types)
	}
}

func TestWatch_Options(t *testing.T) {
	t.Parallel()
	const row = "INSERT INTO issues VALUES (1, 'a', 'd1', 'ann', 's')"
	for name, c := range map[string]struct {
		args, statement string
		want            []string
	}{
		"recipient":       {"recipient => 'owner', columns => '{id}'", row, []string{`create 1 >ann {"id":1}`}},
		"both":            {"recipient => 'owner', dataset => 'dataset_id', columns => '{id}'", row, []string{`create 1 d1  >ann {"id":1}`}},
		"expressions":     {"recipient => 'upper(owner)', dataset => '''of '' || dataset_id', columns => '{id}'", row, []string{`create 1 of d1  >ANN {"id":1}`}},
		"number dataset":  {"dataset => 'id', columns => '{id}'", row, []string{`create 1 1  {"id":1}`}},
		"columns":         {"public => true, columns => '{twice,title}'", row, []string{`create 1 {"twice":2,"title":"a"}`}},
		"without":         {"public => true, without => '{secret,seen,owner}'", row, []string{`create 1 {"id":1,"title":"a","dataset_id":"d1","twice":2}`}},
		"payload":         {"public => true, payload => 'title'", row, []string{`create 1 "a"`}},
		"payload json":    {"public => true, payload => 'json_build_object(''t'', title)'", row, []string{`create 1 {"t" : "a"}`}},
		"payload literal": {"public => true, payload => '''changed'' -- a comment'", row, []string{`create 1 "changed"`}},
		"payload null":    {"public => true, payload => 'NULL'", row, []string{`create 1`}},
		"before create":   {"public => true, payload => 'coalesce(old.title, ''-'')'", row, []string{`create 1 "-"`}},
		"before update":   {"public => true, payload => 'old.title || title || (old).id'", row + "; UPDATE issues SET title = 'b'", []string{`create 1`, `update 1 "ab1"`}},
		"before destroy":  {"public => true, payload => 'old.title || title'", row + "; DELETE FROM issues", []string{`create 1`, `destroy 1 "aa"`}},
		"by new name":     {"public => true, payload => 'new.title'", row, []string{`create 1 "a"`}},
		"principal":       {"public => true, columns => '{id}', principal => 'current_setting(''app.who'', true)'", "SET app.who = 'eve'; " + row, []string{`create 1 by eve {"id":1}`}},
		"original": {"public => true, columns => '{title}', original => true", row + "; UPDATE issues SET title = 'b'; DELETE FROM issues",
			[]string{`create 1 {"title":"a"}`, `update 1 {"title":"b"} was {"title":"a"}`, `destroy 1 {"title":"b"}`}},
		"original of payload": {"public => true, payload => 'title', original => true", row + "; UPDATE issues SET title = 'b'",
			[]string{`create 1 "a"`, `update 1 "b" was "a"`}},
		"condition": {"public => true, columns => '{id}', condition => 'title <> ''draft'''",
			"INSERT INTO issues (id, title) VALUES (1, 'draft'), (2, NULL), (3, 'x')", []string{`create 3 {"id":3}`}},
		"changes": {"public => true, columns => '{title}', changes => '{title,seen}'",
			row + "; UPDATE issues SET owner = 'ben'; UPDATE issues SET owner = 'x', seen = '1'", []string{`create 1 {"title":"a"}`, `update 1 {"title":"a"}`}},
		"only create":  {"public => true, columns => '{id}', actions => '{create}'", row + "; UPDATE issues SET title = 'b'; DELETE FROM issues", []string{`create 1 {"id":1}`}},
		"only update":  {"public => true, columns => '{id}', actions => '{update}'", row + "; UPDATE issues SET title = 'b'; DELETE FROM issues", []string{`update 1 {"id":1}`}},
		"only destroy": {"public => true, columns => '{id}', actions => '{destroy}'", row + "; UPDATE issues SET title = 'b'; DELETE FROM issues", []string{`destroy 1 {"id":1}`}},
		"public with a dataset": {"public => true, dataset => 'dataset_id', columns => '{id}'",
			row + "; INSERT INTO issues VALUES (2)", []string{`create 1 d1  {"id":1}`, `create 2 {"id":2}`}},
		"key text":       {"public => true, columns => '{id}', key => 'title'", row, []string{`create a {"id":1}`}},
		"key composite":  {"public => true, columns => '{id}', key => 'id, title,secret'", row, []string{`create 1,a,s {"id":1}`}},
		"key expression": {"public => true, columns => '{id}', key => 'title || id'", row, []string{`create a1 {"id":1}`}},
		"key null":       {"public => true, columns => '{id}', key => 'title'", "INSERT INTO issues VALUES (1)", []string{`create {"id":1}`}},
		"key null part":  {"public => true, columns => '{id}', key => 'title,id'", "INSERT INTO issues VALUES (1)", []string{`create ,1 {"id":1}`}},
		"truncate":       {"dataset => 'dataset_id', columns => '{id}', actions => '{truncate}'", row + "; TRUNCATE issues", []string{`truncate`}},
		"public truncate": {"public => true, columns => '{id}'", row + "; TRUNCATE issues",
			[]string{`create 1 {"id":1}`, `truncate`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, among := range []string{"alone", "among others"} {
				a := newApplication(t, issues)
				if among != "alone" {
					bystander(a)
				}
				a.watch("issues", "'t', "+c.args)
				a.tells(c.statement, c.want...)
				a.expectDropped(name + ", " + among)
			}
		})
	}
}

// The keys of one statement's rows may follow each other: what is destroyed goes first.
func TestWatch_KeysThatShift(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues, "ALTER TABLE issues DROP CONSTRAINT issues_pkey")
	a.watch("issues", "'t', public => true, key => 'id', columns => '{id,title}'")
	a.tells("INSERT INTO issues (id, title) VALUES (1, 'a'), (2, 'b'), (2, 'c')",
		`create 1 {"id":1,"title":"a"}`, `create 2 {"id":2,"title":"b"}`, `create 2 {"id":2,"title":"c"}`)
	a.tells("UPDATE issues SET id = id + 1",
		`destroy 1 {"id":1,"title":"a"}`, `destroy 2 {"id":2,"title":"b"}`, `destroy 2 {"id":2,"title":"c"}`,
		`create 2 {"id":2,"title":"a"}`, `create 3 {"id":3,"title":"b"}`, `create 3 {"id":3,"title":"c"}`)
	a.tells("UPDATE issues SET title = title || '!' WHERE id = 3", // rows of one key are told apart
		`update 3 {"id":3,"title":"b!"}`, `update 3 {"id":3,"title":"c!"}`)
}

// A plan is made once in a session, for as many rows as there are then. It must serve as well for many more: if the two
// tables of an update were compared each row with each, this would take hours.
func TestWatch_FewRowsThenMany(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'t', dataset => 'dataset_id', columns => '{id}'")
	a.tells("INSERT INTO issues VALUES (0, '', 'd')", `create 0 d  {"id":0}`)
	a.tells("UPDATE issues SET title = 'x'", `update 0 d  {"id":0}`)
	exec(t, a.writer,
		"INSERT INTO issues (id, dataset_id) SELECT i, 'd' FROM generate_series(1, 30000) AS i",
		"UPDATE issues SET title = 'y'",
		"DELETE FROM issues")
	if n := len(a.told()); n != 30000+30001+30001 {
		t.Errorf("%d events", n)
	}
}

func TestWatch_SeveralTypesOfOneTable(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", "'a', public => true, columns => '{id}'")
	a.watch("issues", "'b', recipient => 'owner', columns => '{title}'")
	a.tells("INSERT INTO issues VALUES (1, 'a', 'd1', 'ann')", `create 1 {"id":1}`, `create 1 >ann {"title":"a"}`)
	exec(t, a.owner, "SELECT notifier.unwatch_table('issues', 'a')")
	a.expectWatched("one type is left", "app.issues b complete")
	a.tells("DELETE FROM issues", `destroy 1 >ann {"title":"a"}`)
}

// A row has one key, whatever the settings of who writes.
func TestWatch_KeysOfTimes(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE log (day date, at timestamptz, local timestamp, v int, PRIMARY KEY (day, at, local))")
	a.watch("log", "'t', public => true, columns => '{v}', recipient => 'day', dataset => 'at'")
	const key = "2026-11-22,2026-11-22T12:00:00Z,2026-11-22T13:00:00 2026-11-22T12:00:00Z  >2026-11-22"
	a.tells("INSERT INTO log VALUES ('2026-11-22', '2026-11-22 12:00Z', '2026-11-22 13:00', 1)", "create "+key+` {"v":1}`)
	exec(t, a.writer, "SET DateStyle = German", "SET TimeZone = 'Asia/Tokyo'")
	a.tells("UPDATE log SET v = 2", "update "+key+` {"v":2}`)
}

// Policies of row security are the application's sessions' business, not that of who has a table watched.
func TestWatch_RowSecurity(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues,
		"ALTER TABLE issues ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
		"CREATE POLICY tenant ON issues USING (dataset_id = current_setting('app.tenant'))")
	a.watch("issues", "'t', dataset => 'dataset_id', payload => 'upper(title)'")
	exec(t, a.writer, "SET app.tenant = 'd'")
	a.tells("INSERT INTO issues (id, title, dataset_id) VALUES (1, 'a', 'd')", `create 1 d  "A"`)
}
