package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// policy asks the policy functions something as a server would, and looks which
// tables were gone through for it: that is seen whatever language they are in.
func policy(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	q, err := e.sample(ctx)
	if err != nil {
		return f, err
	}
	var scanned []string
	began := time.Now()
	tx, err := e.conn.Begin(ctx) // not one that only reads, in which a policy that writes would fail
	if err != nil {
		return f, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // only the policy may have written
	_, err = tx.Exec(ctx, `-- name: doctor_as_server
		SELECT set_config('statement_timeout', $1, true), set_config('role', 'notifier_server', true)`, statementTimeout)
	if err != nil {
		return f, err
	}
	_, err = tx.Exec(ctx, `-- name: doctor_ask
		SELECT notifier.user_exists($1), notifier.may_read($1, $2, $3), notifier.dataset_of($2, $4)`,
		q.User, q.Type, q.Dataset, "")
	took := time.Since(began)
	switch refused, _ := errors.AsType[*pgconn.PgError](err); {
	case refused != nil && strings.HasPrefix(refused.Code, "22"):
		return ok("they can't make sense of made-up values; there is no user, or no event, to ask about"), nil
	case refused != nil && refused.Code == "57014":
		return failure("they take more than "+statementTimeout, "have them look up by an index: each new answer is waited for by the delivery to everybody"), nil
	case refused != nil:
		return failure("they fail: "+refused.Message,
			"grant notifier_server what they need, or have them be SECURITY DEFINER; while they fail, nothing is delivered"), nil
	case err != nil:
		return f, err
	}
	rows, err := tx.Query(ctx, `-- name: doctor_scans
		SELECT c.oid::regclass::text
		FROM pg_stat_xact_user_tables s
			JOIN pg_class c ON c.oid = s.relid
		WHERE s.seq_scan > 0
			AND greatest(c.reltuples, pg_stat_get_live_tuples(c.oid)) >= $1
		ORDER BY 1`, e.limits.largeTable)
	if err == nil {
		scanned, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return f, err
	}
	if len(scanned) > 0 {
		return warning(fmt.Sprintf("to answer one question, the whole of %s is gone through", some(scanned)),
			"create an index on the columns that user_exists, may_read and dataset_of look up by"), nil
	}
	return ok("they answer in %v, without going through a large table", took.Round(10*time.Microsecond)), nil
}

// sample returns a question such as there may be: about a user that there is, and an
// event of late.
func (e *examination) sample(ctx context.Context) (q notifier.Question, err error) {
	err = e.row(ctx, `-- name: doctor_sample
		SELECT coalesce((SELECT user_id FROM notifier.users LIMIT 1), 'nobody'), coalesce(e.type, ''), coalesce(e.dataset_id, 'none')
		FROM (VALUES (1)) AS one
			LEFT JOIN (
				SELECT type, dataset_id
				FROM (
					SELECT type, dataset_id, control
					FROM notifier.events
					ORDER BY id DESC
					LIMIT 1000
				) AS late
				WHERE control IS NULL
					AND dataset_id IS NOT NULL
				LIMIT 1
			) AS e ON true`, nil, &q.User, &q.Type, &q.Dataset)
	return q, err
}

// retention looks whether positions are recorded, and old events removed.
func retention(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var running, due int
	var newest, oldest *time.Time
	var stale, events bool
	err = e.row(ctx, `-- name: doctor_retention
		SELECT (SELECT count(*) FROM notifier.instances
				WHERE seen_at > now() - interval '1 minute' AND started_at < now() - interval '2 minutes'),
			count(*) FILTER (WHERE taken_at < now() - $1::interval - interval '10 minutes'),
			nullif(max(taken_at), '-infinity'), nullif(min(taken_at), '-infinity'), coalesce(max(taken_at) < now() - interval '5 minutes', true),
			EXISTS (SELECT FROM notifier.events)
		FROM notifier.positions`, []any{e.Retention}, &running, &due, &newest, &oldest, &stale, &events)
	switch {
	case err != nil:
		return f, err
	case running > 0 && stale:
		return warning("servers run, and none has recorded a position for five minutes", "see their logs for 'retention is behind'"), nil
	case running > 0 && due > 1:
		return warning(fmt.Sprintf("events older than %v should have been removed", e.Retention),
			"see the servers' logs for 'retention is behind', and whether all have the same NOTIFIER_RETENTION"), nil
	case newest == nil && events:
		return ok("no server has recorded a position yet"), nil
	case newest == nil:
		return ok("there are no events yet"), nil
	case oldest == nil:
		return ok("nothing was removed yet"), nil
	}
	return ok("nothing is missing since %s", oldest.UTC().Format(time.RFC3339)), nil
}

func vacuum(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var dead, live, age, freeze float64
	var off bool
	err = e.row(ctx, `-- name: doctor_vacuum
		SELECT coalesce(pg_stat_get_dead_tuples(oid), 0), greatest(reltuples, pg_stat_get_live_tuples(oid), 0), age(relfrozenxid),
			current_setting('autovacuum_freeze_max_age')::float8,
			current_setting('autovacuum') = 'off' OR coalesce('autovacuum_enabled=false' = ANY (reloptions), false)
				OR coalesce('autovacuum_enabled=off' = ANY (reloptions), false)
		FROM pg_class
		WHERE oid = 'notifier.events'::regclass`, nil, &dead, &live, &age, &freeze, &off)
	const few = 100_000 // rows, which are vacuumed in a moment
	found := fmt.Sprintf("of notifier.events, %.0f rows are dead and %.0f live; the oldest are %.0f transactions old", dead, live, age)
	switch {
	case err != nil:
		return f, err
	case off:
		return warning("autovacuum is off for notifier.events", "turn it on: old events are removed all the time"), nil
	case age > 1.5*freeze:
		return warning(found, "autovacuum does not get through: see for transactions that are open for long, and VACUUM (FREEZE) notifier.events"), nil
	case dead > few && dead > live/5:
		return warning(found, "autovacuum does not keep up: see for transactions that are open for long, and raise autovacuum_vacuum_cost_limit"), nil
	}
	return ok("%s", found), nil
}

// dropped looks for changes of watched tables that made no event. What retention has
// removed of them is counted on in rows without a time.
func dropped(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	there, err := e.there(ctx, "notifier.dropped")
	if err != nil || !there {
		return ok("none"), err
	}
	var count int64
	err = e.row(ctx, `-- name: doctor_dropped
		SELECT coalesce(sum(count), 0)::bigint
		FROM notifier.dropped
		WHERE dropped_at > '-infinity'`, nil, &count)
	switch {
	case err != nil:
		return f, err
	case count > 0:
		return warning(fmt.Sprintf("%d changes of watched tables made no event", count),
			"notifier.dropped says which and why; mend the expression by another watch_table; the rows go with the retention"), nil
	}
	return ok("none"), nil
}

// watched looks whether the triggers of watched tables are there and enabled, and
// whether they run a function of the table's owner: after ALTER TABLE ... OWNER the
// former one's goes on, which may be anything by now and is given each row.
func watched(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	there, err := e.there(ctx, "notifier.watched")
	if err != nil || !there {
		return ok("none"), err
	}
	incomplete, err := e.texts(ctx, `-- name: doctor_watched
		SELECT format('%s (%s)', watched, array_to_string(missing, ', '))
		FROM notifier.watched
		WHERE NOT complete
		ORDER BY 1`)
	if refused, is := errors.AsType[*pgconn.PgError](err); is && refused.Code == "42501" {
		return ok("not looked at: %s", refused.Message), nil
	}
	if err != nil {
		return f, err
	}
	if len(incomplete) > 0 {
		return warning("triggers are missing or disabled, of "+some(incomplete), "call watch_table again, with the same options"), nil
	}
	foreign, err := e.texts(ctx, `-- name: doctor_watched_by_others
		SELECT DISTINCT format('%s (%s, of %s)', c.oid::regclass, p.oid::regprocedure, pg_get_userbyid(p.proowner))
		FROM pg_trigger AS t
			JOIN pg_class AS c ON c.oid = t.tgrelid
			JOIN pg_proc AS p ON p.oid = t.tgfoid
		WHERE NOT t.tgisinternal
			AND p.prosecdef
			AND p.proowner <> c.relowner
			AND t.tgname IN (SELECT w.name FROM notifier.watch_triggers(notifier.watch_options(obj_description(p.oid, 'pg_proc'))) AS w)
			AND NOT EXISTS ( -- parts of a table may be others'
				SELECT
				FROM pg_inherits AS i
					JOIN pg_trigger AS above ON above.tgrelid = i.inhparent AND above.tgfoid = t.tgfoid
				WHERE i.inhrelid = c.oid)
		ORDER BY 1`)
	if err != nil {
		return f, err
	}
	if len(foreign) > 0 {
		return warning("not their owner's function watches "+some(foreign),
			"DROP FUNCTION ... CASCADE, then have the owner call watch_table, with the same options"), nil
	}
	return ok("all have their triggers"), nil
}

// there reports whether there is a table or view of that name.
func (e *examination) there(ctx context.Context, name string) (there bool, err error) {
	err = e.row(ctx, `-- name: doctor_there
		SELECT to_regclass($1) IS NOT NULL`, []any{name}, &there)
	return there, err
}
