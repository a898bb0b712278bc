package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// usedBy describes, for the log, the sessions that have used notifier's tables in a transaction which is still open, the
// oldest first: one of them keeps a migration waiting. Of those whose time Postgres hides from the role of the migration,
// which is no member of pg_read_all_stats, it says no time, and puts them first. What they do is for their owners to tell.
func usedBy(ctx context.Context, db *sql.DB) string {
	rows, err := db.QueryContext(ctx, `-- name: migrations_used_by
		SELECT a.pid, COALESCE(a.usename, ''), COALESCE(a.application_name, ''),
			date_part('epoch', clock_timestamp() - a.xact_start)
		FROM pg_stat_activity AS a
		WHERE a.pid <> pg_backend_pid()
		  AND EXISTS (
		      SELECT
		      FROM pg_locks AS l
		      JOIN pg_class AS c ON c.oid = l.relation
		      WHERE l.pid = a.pid
		        AND l.granted
		        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		        AND c.relnamespace = to_regnamespace('notifier')
		  )
		ORDER BY a.xact_start NULLS FIRST
		LIMIT 5`)
	if err != nil {
		return "" // a failure that the next try meets too
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var pid int
		var role, application string
		var open sql.NullFloat64
		if rows.Scan(&pid, &role, &application, &open) != nil {
			continue
		}
		one := fmt.Sprintf("pid %d, role %s, application %s", pid, role, application)
		if open.Valid {
			one += fmt.Sprint(", for ", time.Duration(open.Float64*float64(time.Second)).Round(time.Second))
		}
		all = append(all, one)
	}
	if rows.Err() != nil {
		return ""
	}
	return strings.Join(all, "; ")
}
