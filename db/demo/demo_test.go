package demo_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/db/demo"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestInstall_TwiceKeepsTheNotesAndTellsTheirOwners(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	conn := dbtest.Connect(t, url)
	for range 2 {
		if err := demo.Install(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `INSERT INTO demo.notes (owner, text) VALUES ('ann', 'milk')`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `DELETE FROM demo.notes WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	rows, _ := conn.Query(t.Context(), `
		SELECT concat_ws(' ', type, action, key, recipient, payload)
		FROM notifier.events
		ORDER BY id`)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`note insert 1 ann {"note" : 1, "action" : "insert", "text" : "milk"}`,
		`note insert 2 ann {"note" : 2, "action" : "insert", "text" : "milk"}`,
		`note delete 1 ann {"note" : 1, "action" : "delete", "text" : "milk"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
