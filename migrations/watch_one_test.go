package migrations_test

import "testing"

// bystander puts a row into the table issues that each UPDATE of it takes along and leaves as it is: an UPDATE of one
// row goes another way than one of several.
func bystander(a *application) {
	a.t.Helper()
	exec(a.t, a.owner,
		"INSERT INTO issues (id, title, dataset_id, owner) VALUES (-1, 'b', 'd', 'ann')",
		`CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			RETURN CASE WHEN OLD.id > 0 THEN COALESCE(NEW, OLD) WHEN TG_OP = 'UPDATE' THEN OLD END;
		END $$`,
		"CREATE TRIGGER stay BEFORE UPDATE OR DELETE ON issues FOR EACH ROW EXECUTE FUNCTION stay()")
}

// A subscriber of either place hears of a row that an update moves, and nobody hears more than is theirs.
func TestWatch_RowsThatMove(t *testing.T) {
	t.Parallel()
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		rowsThatMove(newApplication(t, issues))
	})
	t.Run("among others", func(t *testing.T) {
		t.Parallel()
		a := newApplication(t, issues)
		bystander(a)
		rowsThatMove(a)
	})
}

func rowsThatMove(a *application) {
	a.watch("issues", `'t', dataset => 'dataset_id', recipient => 'owner', condition => 'title <> ''draft''', original => true,
		payload => 'concat(title, '' of '', dataset_id, '' before '', old.dataset_id)'`)
	a.tells("INSERT INTO issues VALUES (1, 'a', 'd1', 'ann'), (2, 'draft', 'd1', 'ann')", `create 1 d1  >ann "a of d1 before "`)
	a.tells("UPDATE issues SET dataset_id = 'd2' WHERE id IN (-1, 1)",
		`destroy 1 d1  >ann "a of d1 before d1"`, `create 1 d2  >ann "a of d2 before "`)
	a.tells("UPDATE issues SET owner = 'ben' WHERE id IN (-1, 1)",
		`destroy 1 d2  >ann "a of d2 before d2"`, `create 1 d2  >ben "a of d2 before "`)
	a.tells("UPDATE issues SET title = 'draft', owner = 'carol' WHERE id IN (-1, 1)", `destroy 1 d2  >ben "a of d2 before d2"`)
	a.tells("UPDATE issues SET secret = 'x'")
	a.tells("UPDATE issues SET title = 'b' WHERE id IN (-1, 1)", `create 1 d2  >carol "b of d2 before "`)
	a.tells("UPDATE issues SET secret = 'y' WHERE id IN (-1, 1)", `update 1 d2  >carol "b of d2 before d2" was "b of d2 before d2"`)
	a.tells("UPDATE issues SET id = 7 WHERE id IN (-1, 1)", `destroy 1 d2  >carol "b of d2 before d2"`, `create 7 d2  >carol "b of d2 before "`)
	a.expectDropped("nothing is wrong")
}

// What becomes no event of an update of one row is noted as that of several is, once.
func TestWatch_OneRowIsDropped(t *testing.T) {
	t.Parallel()
	a := newApplication(t, issues)
	a.watch("issues", `'t', dataset => 'dataset_id', columns => '{id}'`)
	a.watch("issues", `'e', dataset => 'dataset_id', payload => '100 / title::int', original => true, changes => '{title}'`)
	a.tells("INSERT INTO issues (id, title, dataset_id) VALUES (1, '1', 'd'), (2, '2', NULL)", `create 1 d  100`, `create 1 d  {"id":1}`)
	a.dropped()
	a.tells("UPDATE issues SET title = '4' WHERE id = 2")
	a.expectDropped("nobody named", "update 2 neither a recipient nor a dataset", "update 2 neither a recipient nor a dataset")
	a.tells("UPDATE issues SET title = '5' WHERE id = 1", `update 1 d  20 was 100`, `update 1 d  {"id":1}`)
	a.tells("UPDATE issues SET title = '0' WHERE id = 1", `update 1 d  {"id":1}`)
	a.expectDropped("what it is can't be told", "update 1 22012 division by zero")
	a.tells("UPDATE issues SET title = '5' WHERE id = 1", `update 1 d  {"id":1}`)
	a.expectDropped("what it was can't be told", "update 1 22012 division by zero")
	a.tells("UPDATE issues SET title = '0', secret = 's' WHERE id = 0")
	a.tells("UPDATE issues SET secret = 's' WHERE id = 2")
	a.expectDropped("not among the changes", "update 2 neither a recipient nor a dataset")
	exec(t, a.owner, "SELECT notifier.unwatch_table('issues', 't')")
	a.tells("UPDATE issues SET secret = 'x' WHERE id = 2")
	a.tells("UPDATE issues SET title = title WHERE id = 2")
	a.expectDropped("nothing has changed that is told")
}

// Where an update of one row in a session is followed by one of many, and the other way round, each is told.
func TestWatch_OneRowThenMany(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"columns => '{id}'", "payload => 'json_build_object(''id'', id)', recipient => 'lower(owner)'"} {
		a := newApplication(t, issues)
		a.watch("issues", "'t', dataset => 'dataset_id', "+args)
		exec(t, a.writer, "INSERT INTO issues (id, dataset_id) SELECT i, 'd' FROM generate_series(1, 30) AS i")
		a.told()
		for i, c := range []struct {
			where string
			count int
		}{{"id = 1", 1}, {"id < 3", 2}, {"true", 30}, {"id = 2", 1}, {"false", 0}, {"id = 30", 1}, {"id > 10", 20}} {
			if _, err := a.writer.Exec(t.Context(), "UPDATE issues SET title = $1 WHERE "+c.where, string(rune('a'+i))); err != nil {
				t.Fatal(err)
			}
			if told := a.told(); len(told) != c.count {
				t.Errorf("%s: %d events: %q", c.where, len(told), told)
			}
		}
		a.expectDropped("nothing is wrong")
	}
}

// Two texts that a collation takes for equal are two places.
func TestWatch_CollationsThatTakeTextsForEqual(t *testing.T) {
	t.Parallel()
	a := newApplication(t)
	if _, err := a.owner.Exec(t.Context(), "CREATE COLLATION app.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"); err != nil {
		t.Skipf("this server has no such collation: %v", err)
	}
	exec(t, a.owner, "CREATE TABLE t (id int PRIMARY KEY, k text COLLATE app.nocase, v text COLLATE app.nocase)")
	a.watch("t", "'t', recipient => 'k', columns => '{v}', changes => '{v}', original => true")
	a.tells("INSERT INTO t VALUES (1, 'a', 'v'), (2, 'a', 'v')", `create 1 >a {"v":"v"}`, `create 2 >a {"v":"v"}`)
	a.tells("UPDATE t SET k = 'A' WHERE id = 1", `destroy 1 >a {"v":"v"}`, `create 1 >A {"v":"v"}`)
	a.tells("UPDATE t SET v = 'V' WHERE id = 1", `update 1 >A {"v":"V"} was {"v":"v"}`)
	a.tells("UPDATE t SET k = 'A', v = 'V'", `destroy 2 >a {"v":"v"}`, `create 2 >A {"v":"V"}`)
}
