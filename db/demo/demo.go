// Package demo is the example application that `notifier dev` puts beside the
// log: five tables that are watched, the policy that asks them, and a generator
// of something happening in them.
package demo

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The parts of the application, each a file to read and to copy from.
var (
	//go:embed schema.sql
	schema string
	//go:embed policy.sql
	policy string
	//go:embed watch.sql
	watch string
	//go:embed rows.sql
	rows string
)

// installed asks what there is: whether the tables are missing, and whether the
// policy is still that which notifier brings.
const installed = `-- name: demo_installed
SELECT
  to_regclass('demo.members') IS NULL,
  (SELECT p.prosrc ~ 'notifier\.dataset_permissions' FROM pg_proc AS p
   WHERE p.oid = 'notifier.may_read(text, text, text)'::regprocedure)`

// unqualified has what a person creates without a schema be where everybody looks for
// it: the user of dev's database has the name of our own schema, which "$user" is.
const unqualified = `-- name: demo_search_path
DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = public', current_database());
END
$$`

// Install creates the demo in a migrated database, or brings it up to date.
// Rows and policy come with the tables and only then: from there on they are
// whose the database is. So is a policy that was replaced before.
func Install(ctx context.Context, databaseURL string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect for the demo: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var missing, replaceable bool
		if err := tx.QueryRow(ctx, installed).Scan(&missing, &replaceable); err != nil {
			return err
		}
		scripts := []string{unqualified, schema}
		if missing && replaceable {
			scripts = append(scripts, policy)
		}
		scripts = append(scripts, watch)
		if missing {
			scripts = append(scripts, rows)
		}
		for _, script := range scripts {
			if _, err := tx.Exec(ctx, script); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("install the demo: %w", err)
	}
	return nil
}
