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

func TestNew_HasTheSchemaAndIsDropped(t *testing.T) {
	t.Parallel()
	admin := dbtest.Connect(t, dbtest.Empty(t))
	var name string
	t.Run("inner/odd Näme with a very long tail that does not fit into sixty-three bytes at all", func(t *testing.T) {
		conn := dbtest.Connect(t, dbtest.New(t))
		var events bool
		err := conn.QueryRow(t.Context(), "SELECT current_database(), to_regclass('notifier.events') IS NOT NULL").Scan(&name, &events)
		if err != nil || !events {
			t.Errorf("schema there: %v, %v", events, err)
		}
	})
	var exists bool
	err := admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil || exists || name == "" {
		t.Errorf("database %q after its test: exists %v, %v", name, exists, err)
	}
}
