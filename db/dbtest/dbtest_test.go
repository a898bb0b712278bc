package dbtest_test

import (
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestNew_DatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := dbtest.Connect(t, dbtest.New(t)), dbtest.Connect(t, dbtest.Empty(t))
	if _, err := a.Exec(t.Context(), "CREATE TABLE only_here (n int)"); err != nil {
		t.Fatal(err)
	}
	var found bool
	if err := b.QueryRow(t.Context(), "SELECT to_regclass('only_here') IS NOT NULL").Scan(&found); err != nil {
		t.Fatal(err)
	}
	if found {
		t.Error("a table made in one database shows in another")
	}
}
