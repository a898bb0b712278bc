package migrations

import (
	"context"
	"database/sql"
	"log/slog"
	"time"
)

// holder describes, for the log, the session that has used notifier's tables for longest in a transaction: that is who
// keeps a migration waiting, most likely. It is empty if there is none any more. What Postgres hides from the role of
// the migration (all but the pid, without pg_read_all_stats) is left out; what the session does is for its owner to tell.
func holder(ctx context.Context, db *sql.DB) (attributes []any) {
	var pid int
	var role, application sql.NullString
	var open sql.NullFloat64
	err := db.QueryRowContext(ctx, `-- name: migrations_holder
		SELECT a.pid, a.usename, a.application_name, date_part('epoch', clock_timestamp() - a.xact_start)
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
		ORDER BY a.xact_start
		LIMIT 1`).Scan(&pid, &role, &application, &open)
	if err != nil { // it has ended, or a failure that the next try meets too
		return nil
	}
	attributes = []any{slog.Int("pid", pid)}
	if role.Valid {
		attributes = append(attributes, slog.String("role", role.String))
	}
	if application.String != "" {
		attributes = append(attributes, slog.String("application", application.String))
	}
	if open.Valid {
		attributes = append(attributes, slog.Duration("open", time.Duration(open.Float64*float64(time.Second)).Round(time.Second)))
	}
	return attributes
}
