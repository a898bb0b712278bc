package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"example.com/notifier/notifier"
)

// serverChecks are about the server, whatever it holds.
var serverChecks = []check{
	{"server version", serverVersion},
	{"recovery", recovery},
	{"encoding", encoding},
	{"pooler", pooler},
	{"listen", listen},
	{"notification queue", queue},
	{"locks", locks},
	{"connections", connections},
	{"clock", clock},
	{"transactions", transactions},
}

// oldestVersion is the first whose statements and functions are those we use.
const oldestVersion = 140000

func serverVersion(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var number int
	var text string
	err = e.row(ctx, `-- name: doctor_version
		SELECT current_setting('server_version_num')::int, current_setting('server_version')`, nil, &number, &text)
	switch {
	case err != nil:
		return f, err
	case number < oldestVersion:
		return failure("PostgreSQL "+text, "notifier needs PostgreSQL 14 or newer"), nil
	}
	return ok("PostgreSQL %s", text), nil
}

func recovery(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var standby bool
	err = e.row(ctx, `-- name: doctor_recovery
		SELECT pg_is_in_recovery()`, nil, &standby)
	if standby {
		e.stopped = true
		return failure("the server is a standby", "have the URLs lead to the primary; target_session_attrs=primary finds it among several hosts"), nil
	}
	return ok("the server is a primary"), err
}

func encoding(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var name string
	err = e.row(ctx, `-- name: doctor_encoding
		SELECT current_setting('server_encoding')`, nil, &name)
	if err == nil && name != "UTF8" {
		return failure("the database is encoded in "+name, "notifier needs a database encoded in UTF8"), nil
	}
	return ok("%s", name), err
}

// locks looks at the table of locks, which all transactions share: when it is full,
// their commits fail.
func locks(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var taken, room float64
	err = e.row(ctx, `-- name: doctor_locks
		SELECT (SELECT count(*) FROM pg_locks WHERE NOT fastpath),
			current_setting('max_locks_per_transaction')::float8
				* (current_setting('max_connections')::float8 + current_setting('max_prepared_transactions')::float8)`,
		nil, &taken, &room)
	if err != nil {
		return f, err
	}
	found := fmt.Sprintf("%.0f of about %.0f are held", taken, room)
	if taken > room*e.limits.freeForLocks {
		return warning(found, "raise max_locks_per_transaction, or see who holds so many in pg_locks: when there is no room, commits fail"), nil
	}
	return ok("%s", found), nil
}

// connections counts, too, those of which the role may see no more than that they
// are: their kind is not told, and of what is in a database they are nearly all.
func connections(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var free int
	err = e.row(ctx, `-- name: doctor_connections
		SELECT least(
			current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
				- (SELECT count(*) FROM pg_stat_activity WHERE coalesce(backend_type = 'client backend', datid IS NOT NULL)),
			(SELECT nullif(datconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid)
			FROM pg_database d
			WHERE datname = current_database()),
			(SELECT nullif(rolconnlimit, -1) - (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
			FROM pg_roles r
			WHERE rolname = current_user))`, nil, &free)
	if err != nil {
		return f, err
	}
	found := fmt.Sprintf("%d are free, a server opens up to %d", free, e.Connections)
	if free < e.Connections {
		return warning(found, "raise max_connections, or the limit of the role or the database; or lower NOTIFIER_MAX_CONNS"), nil
	}
	return ok("%s", found), nil
}

// How far clocks may be apart: beyond the first, tokens and times of events are
// noticeably wrong; beyond the second, tokens are refused.
const (
	skewedBy = time.Second
	wrongBy  = time.Minute
)

func clock(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	var theirs time.Time
	before := e.Now()
	err = e.conn.QueryRow(ctx, `-- name: doctor_clock
		SELECT clock_timestamp()`).Scan(&theirs)
	if err != nil {
		return f, err
	}
	took := e.Now().Sub(before)
	ahead := theirs.Sub(before.Add(took / 2))
	found := fmt.Sprintf("the database's clock is %v ahead of this machine's, give or take %v", ahead.Round(time.Millisecond), (took / 2).Round(time.Millisecond))
	advice := "have both follow the same time (NTP): tokens are checked by this machine's clock, events are dated by the database's"
	switch off := ahead.Abs() - took/2; {
	case off > wrongBy:
		return failure(found, advice), nil
	case off > skewedBy:
		return warning(found, advice), nil
	}
	return ok("%s", found), nil
}

// transactions looks for those that have been open for long: nothing that was
// deleted since can be vacuumed.
func transactions(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	old, err := e.texts(ctx, `-- name: doctor_transactions
		SELECT found
		FROM (
			SELECT xact_start AS since, format('pid %s (%s) for %s', pid, coalesce(nullif(application_name, ''), usename, '?'),
				date_trunc('second', now() - xact_start)) AS found
			FROM pg_stat_activity
			WHERE pid <> pg_backend_pid()
				AND backend_type = 'client backend'
			UNION ALL
			SELECT prepared, format('prepared transaction %s for %s', gid, date_trunc('second', now() - prepared))
			FROM pg_prepared_xacts
		) AS t
		WHERE since < clock_timestamp() - $1::interval
		ORDER BY since
		LIMIT 5`, e.limits.transaction)
	if err != nil {
		return f, err
	}
	if len(old) > 0 {
		return warning("open for long: "+strings.Join(old, ", "),
			"end them: what was deleted since they began can't be vacuumed; idle_in_transaction_session_timeout ends the idle ones"), nil
	}
	return ok("none is open for more than %v, as far as the role may see", e.limits.transaction), nil
}
