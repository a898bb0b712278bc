package migrations_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/migrations"
)

const bothRoles = "notifier_publisher notifier_server"

// newCluster has no role of ours yet. Roles belong to the whole cluster, so tests of them cannot share one.
type newCluster struct {
	*dbtest.Cluster
	admin *pgx.Conn
	owned string // a database, by the role that owns it: "plain", which is nothing else
}

func emptyCluster(t *testing.T) *newCluster {
	t.Helper()
	c := &newCluster{Cluster: dbtest.NewCluster(t, dbtest.Unmigrated())}
	c.admin = dbtest.Connect(t, c.URL(""))
	exec(t, c.admin, "CREATE ROLE plain LOGIN PASSWORD 'p'")
	c.owned = as(t, c.Database(t, "owned"), "plain", "p")
	exec(t, c.admin, "ALTER DATABASE owned OWNER TO plain")
	return c
}

func (c *newCluster) roles(t *testing.T) string {
	t.Helper()
	return scalar[string](t, c.admin,
		"SELECT coalesce(string_agg(rolname, ' ' ORDER BY rolname), '') FROM pg_roles WHERE rolname ~ '^notifier_'")
}

func downToNothing(t *testing.T, databaseURL string) {
	t.Helper()
	if err := migrations.DownTo(t.Context(), databaseURL, 0, discard); err != nil {
		t.Fatal(err)
	}
}

func TestRoles_OwnerWithoutCreateRole(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	err := migrations.Up(t.Context(), c.owned, discard)
	const remedy = `"CREATE ROLE notifier_publisher NOLOGIN; CREATE ROLE notifier_server NOLOGIN;"`
	if sqlState(err) != insufficientPrivilege || !strings.Contains(err.Error(), remedy) {
		t.Errorf("without the roles: %v, want the remedy", err)
	}
	exec(t, c.admin, "CREATE ROLE notifier_publisher NOLOGIN; CREATE ROLE notifier_server NOLOGIN;")
	up(t, c.owned)
	conn := dbtest.Connect(t, c.owned)
	exec(t, conn, "SELECT notifier.publish('a')", "SELECT notifier.drop_user('joe')")

	downToNothing(t, c.owned)
	if hasSchema(t, c.owned) || c.roles(t) != bothRoles {
		t.Errorf("after down: schema %v, roles %q; want none and both", hasSchema(t, c.owned), c.roles(t))
	}
}

func TestRoles_OwnerWithCreateRole(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	exec(t, c.admin, "ALTER ROLE plain CREATEROLE")
	up(t, c.owned)
	if got := c.roles(t); got != bothRoles {
		t.Errorf("after up: roles %q", got)
	}
	downToNothing(t, c.owned)
	if got := c.roles(t); got != "" {
		t.Errorf("after down: roles %q", got)
	}
}

func TestRoles_StayWhileSomethingNeedsThem(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	first, second := c.URL(""), c.Database(t, "second")
	up(t, first)
	up(t, second)
	downToNothing(t, first)
	if got := c.roles(t); got != bothRoles {
		t.Errorf("another database needs both, left is %q", got)
	}
	exec(t, c.admin, "GRANT notifier_publisher TO plain")
	downToNothing(t, second)
	if got := c.roles(t); got != "notifier_publisher" {
		t.Errorf("a member needs the publisher's role, left is %q", got)
	}
}

func TestRoles_SeveralDatabasesMakeThemAtOnce(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	var g errgroup.Group
	for _, name := range []string{"a", "b", "c", "d"} {
		url := c.Database(t, name)
		g.Go(func() error { return migrations.Up(t.Context(), url, discard) }) // ends when the schema is up
	}
	if err := g.Wait(); err != nil || c.roles(t) != bothRoles {
		t.Errorf("roles %q: %v", c.roles(t), err)
	}
}
