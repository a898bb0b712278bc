package migrations_test

import "testing"

// parts are partitions of which one has its columns in another order.
const parts = `
	CREATE TABLE p (id int, k text, v int, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
	CREATE TABLE pa PARTITION OF p FOR VALUES IN ('a');
	CREATE TABLE pb (v int, x int, k text NOT NULL, id int NOT NULL);
	ALTER TABLE pb DROP COLUMN x;
	ALTER TABLE p ATTACH PARTITION pb FOR VALUES IN ('b');
	CREATE TABLE pc PARTITION OF p FOR VALUES IN ('c', 'd') PARTITION BY LIST (k);
	CREATE TABLE pcc PARTITION OF pc FOR VALUES IN ('c')`

func TestWatch_Partitions(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		"columns => '{id,v}'",
		"payload => 'format(''{\"id\":%s,\"v\":%s}'', id, v)::json'",
	} {
		a := newApplication(t, parts)
		a.watch("p", "'t', dataset => 'k', key => 'id', original => true, "+payload)
		a.tells("INSERT INTO p VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
			`create 1 a  {"id":1,"v":1}`, `create 2 b  {"id":2,"v":2}`, `create 3 c  {"id":3,"v":3}`)
		a.tells("INSERT INTO pb (id, k, v) VALUES (4, 'b', 4)", `create 4 b  {"id":4,"v":4}`)
		a.tells("UPDATE pc SET v = 30", `update 3 c  {"id":3,"v":30} was {"id":3,"v":3}`)
		a.tells("UPDATE p SET v = v + 1 WHERE id < 3",
			`update 1 a  {"id":1,"v":2} was {"id":1,"v":1}`, `update 2 b  {"id":2,"v":3} was {"id":2,"v":2}`)
		a.tells("UPDATE p SET k = 'b' WHERE id = 1", `destroy 1 a  {"id":1,"v":2}`, `create 1 b  {"id":1,"v":2}`)
		a.tells("DELETE FROM pcc", `destroy 3 c  {"id":3,"v":30}`)
		a.expectDropped("nothing is wrong")
	}
}

func TestWatch_TruncateOfPartitionsIsOneEvent(t *testing.T) {
	t.Parallel()
	a := newApplication(t, parts)
	a.watch("p", "'t', public => true")
	a.watch("p", "'private', dataset => 'k'")
	a.tells("TRUNCATE p", "truncate")
	a.expectDropped("a type whose readers can't be named", "truncate the table was truncated, and truncate is not among the actions")
	a.tells("TRUNCATE p, pb, pcc", "truncate")
	a.tells("BEGIN; TRUNCATE p; TRUNCATE pc; TRUNCATE pb; TRUNCATE p; COMMIT", "truncate", "truncate", "truncate", "truncate")
	a.tells("BEGIN; SAVEPOINT s; TRUNCATE p; ROLLBACK TO s; TRUNCATE pb; COMMIT", "truncate")
	exec(t, a.writer, "BEGIN", "TRUNCATE pa, p", "TRUNCATE pa", "COMMIT")
	a.expect("a part, its parent, and the part once more", "truncate", "truncate", "truncate")
}

// A trigger that refuses a row where an update has moved it leaves an update with fewer new rows than old ones: what
// belongs to what is not known then, and nothing is taken for an update.
func TestWatch_RowRefusedOnItsWayToAPartition(t *testing.T) {
	t.Parallel()
	a := newApplication(t, parts,
		"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
		"CREATE TRIGGER refuse BEFORE INSERT ON pb FOR EACH ROW EXECUTE FUNCTION refuse()")
	a.watch("p", "'t', public => true, key => 'id', columns => '{k,v}'")
	a.watch("p", "'e', public => true, key => 'id', payload => '100 / v'")
	exec(t, a.writer, "INSERT INTO p VALUES (1, 'a', 1), (2, 'a', 2), (3, 'c', 3)")
	a.told()
	a.tells("UPDATE p SET v = v + 1, k = CASE id WHEN 1 THEN 'b' ELSE k END",
		`destroy 1 100`, `destroy 2 50`, `destroy 3 33`, `create 2 33`, `create 3 25`,
		`destroy 1 {"k":"a","v":1}`, `destroy 2 {"k":"a","v":2}`, `destroy 3 {"k":"c","v":3}`,
		`create 2 {"k":"a","v":3}`, `create 3 {"k":"c","v":4}`)
	a.tells("UPDATE p SET v = 0, k = CASE id WHEN 2 THEN 'b' ELSE k END",
		`destroy 2 33`, `destroy 3 25`, `destroy 2 {"k":"a","v":3}`, `destroy 3 {"k":"c","v":4}`, `create 3 {"k":"c","v":0}`)
	a.expectDropped("one can't be computed", "create 3 22012 division by zero")
}

func TestWatch_PartitionsThatComeAndGo(t *testing.T) {
	t.Parallel()
	a := newApplication(t, parts)
	a.watch("p", "'t', public => true, columns => '{id}'")
	a.expectWatched("at first", "app.p t complete")
	exec(t, a.owner, "CREATE TABLE pd PARTITION OF pc FOR VALUES IN ('d')")
	a.expectWatched("with a new partition", "app.p t without {app.pd}")
	a.tells("INSERT INTO p VALUES (1, 'd', 1)", `create d,1 {"id":1}`)
	a.tells("INSERT INTO pd VALUES (2, 'd', 1)")
	a.watch("p", "'t', public => true, columns => '{id}'")
	a.expectWatched("watched again", "app.p t complete")
	a.tells("INSERT INTO pd VALUES (3, 'd', 1)", `create d,3 {"id":3}`)

	exec(t, a.owner, "ALTER TABLE p DETACH PARTITION pc")
	a.expectWatched("a part of its own", "app.p t complete", "app.pc t complete")
	a.tells("INSERT INTO pd VALUES (4, 'd', 1)", `create d,4 {"id":4}`)
	exec(t, a.owner, "SELECT notifier.unwatch_table('pc')")
	a.expectWatched("the other part goes on", "app.p t complete")
	a.tells("INSERT INTO pd VALUES (5, 'd', 1)")
	a.tells("INSERT INTO p VALUES (5, 'a', 1)", `create a,5 {"id":5}`)
	exec(t, a.owner, "SELECT notifier.unwatch_table('pa')")
	a.expectWatched("a part is not unwatched by itself", "app.p t complete")
	exec(t, a.owner, "SELECT notifier.unwatch_table('p')")
	a.expectWatched("at the end")
	if scalar[bool](t, a.admin, "SELECT EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'notifier%')") {
		t.Error("a function is left")
	}
}

// A child may have columns that nobody has asked for.
func TestWatch_Inheritance(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "CREATE TABLE t (id int PRIMARY KEY, v int)", "CREATE TABLE c (secret text) INHERITS (t)")
	a.watch("t", "'t', public => true")
	a.expectWatched("both", "app.t t complete")
	a.tells("INSERT INTO t VALUES (1, 1)", `create 1 {"id":1,"v":1}`)
	a.tells("INSERT INTO c VALUES (2, 1, 's')", `create 2 {"id":2,"v":1}`)
	a.tells("UPDATE t SET v = v + 1", `update 1 {"id":1,"v":2}`, `update 2 {"id":2,"v":2}`)
	a.tells("UPDATE c SET v = v + 1", `update 2 {"id":2,"v":3}`)
	a.watch("t", "'t', public => true, payload => 'json_build_array(new, old, 6 / v)'")
	a.tells("INSERT INTO c VALUES (3, 2, 's')", `create 3 [{"id":3,"v":2}, null, 3]`)
	a.tells("INSERT INTO c VALUES (4, 1, 's'), (5, 0, 's')", `create 4 [{"id":4,"v":1}, null, 6]`)
	a.expectDropped("one of the child's", "create 5 22012 division by zero")
	a.tells("UPDATE c SET v = v + 1 WHERE id > 3", `update 4 [{"id":4,"v":2}, {"id":4,"v":1}, 3]`, `update 5 [{"id":5,"v":1}, {"id":5,"v":0}, 6]`)
	a.tells("TRUNCATE ONLY t", `truncate`)
	a.tells("TRUNCATE c", `truncate`)
}

// Postgres does not compute a virtual column for a trigger.
func TestWatch_VirtualColumns(t *testing.T) {
	t.Parallel()
	a := newApplication(t)
	if scalar[int](t, a.admin, "SELECT current_setting('server_version_num')::int") < 180000 {
		t.Skip("this server has no virtual columns")
	}
	exec(t, a.owner, "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL, v int)")
	a.watch("t", "'t', public => true")
	a.tells("INSERT INTO t VALUES (1)", `create 1 {"id":1,"v":null}`)
	refused(t, a.owner, "42703", "SELECT notifier.watch_table('t', 't', public => true, payload => 'twice')")
	refused(t, a.owner, "42703", "SELECT notifier.watch_table('t', 't', public => true, columns => '{twice}')")
	a.watch("t", "'t', public => true, payload => 'json_build_array(new, old, 6 / v)', condition => 'to_json(new) IS NOT NULL', original => true")
	a.tells("INSERT INTO t (id, v) VALUES (2, 1)", `create 2 [{"id":2,"v":1}, null, 6]`)
	a.tells("UPDATE t SET v = 2 WHERE id = 2", `update 2 [{"id":2,"v":2}, {"id":2,"v":1}, 3] was [{"id":2,"v":1}, {"id":2,"v":1}, 6]`)
	a.tells("UPDATE t SET v = 3", `update 1 [{"id":1,"v":3}, {"id":1,"v":null}, 2] was [{"id":1,"v":null}, {"id":1,"v":null}, null]`,
		`update 2 [{"id":2,"v":3}, {"id":2,"v":2}, 2] was [{"id":2,"v":2}, {"id":2,"v":2}, 3]`)
	a.tells("UPDATE t SET v = 2 - id", `update 1 [{"id":1,"v":1}, {"id":1,"v":3}, 6] was [{"id":1,"v":3}, {"id":1,"v":3}, 2]`)
	a.tells("DELETE FROM t", `destroy 1 [{"id":1,"v":1}, {"id":1,"v":1}, 6]`)
	a.expectDropped("two by zero", "destroy 2 22012 division by zero", "update 2 22012 division by zero")
}
