package deploy_test

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// What the database of compose.yaml begins with: whatever is in a password, it is that, and its role may do what it is for.
func TestPostgres_MakesRolesWithThesePasswords(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("there is no psql")
	}
	const migrate, serve = "mi'gra\"te $HOME `id` \\'", ":serve' :'serve' \\\\ %41 "
	server, err := url.Parse(dbtest.NewCluster(t, dbtest.Unmigrated()).URL(""))
	if err != nil {
		t.Fatal(err)
	}
	as := func(user, password string) *pgx.Conn {
		t.Helper()
		at := *server
		at.User = url.UserPassword(user, password)
		return dbtest.Connect(t, at.String())
	}
	must := func(conn *pgx.Conn, sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	// As the image's is called; the one of the cluster has a name that is needed.
	must(dbtest.Connect(t, server.String()), `CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'super'`)
	must(as("postgres", "super"), `ALTER ROLE `+server.User.Username()+` RENAME TO another`)
	command := exec.CommandContext(t.Context(), "sh", "postgres.sh")
	command.Env = append(os.Environ(), "PGHOST="+server.Hostname(), "PGPORT="+server.Port(), "PGPASSWORD=super",
		"POSTGRES_USER=postgres", "POSTGRES_DB="+strings.TrimPrefix(server.Path, "/"),
		"NOTIFIER_MIGRATE_PASSWORD="+migrate, "NOTIFIER_DB_PASSWORD="+serve)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var owner, super, makes bool
	if err := as("notifier_owner", migrate).QueryRow(t.Context(), `SELECT pg_get_userbyid(datdba) = current_user, rolsuper, rolcreaterole
		FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user`).Scan(&owner, &super, &makes); err != nil {
		t.Fatal(err)
	}
	if !owner || super || makes {
		t.Errorf("who migrates: owner %t, superuser %t, makes roles %t", owner, super, makes)
	}
	var member, creates bool
	if err := as("notifier", serve).QueryRow(t.Context(), `SELECT pg_has_role('notifier_server', 'MEMBER'),
		has_database_privilege(current_database(), 'CREATE')`).Scan(&member, &creates); err != nil {
		t.Fatal(err)
	}
	if !member || creates {
		t.Errorf("who serves: member %t, makes schemas %t", member, creates)
	}
}

// Every supported version's image has its own psql, and 14's has no \getenv.
func TestPostgres_IsForEveryPsql(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(readFile(t, "postgres.sh")) {
		if strings.HasPrefix(line, `\getenv`) {
			t.Errorf("psql 14 does not know this: %s", line)
		}
	}
}
