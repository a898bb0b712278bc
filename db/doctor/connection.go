package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connecting is what needs no schema and leads to a connection.
var connecting = []check{
	{"connection", connection},
	{"listen connection", listenConnection},
}

func connection(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	if e.pooled, err = connect(ctx, e.URL); err != nil {
		e.stopped = true
		return failure("the database can't be reached: "+reason(err), "see NOTIFIER_DATABASE_URL, the network, and pg_hba.conf"), nil
	}
	began := e.Now()
	var user, database string
	err = e.pooled.QueryRow(ctx, `-- name: doctor_who
		SELECT current_user, current_database()`).Scan(&user, &database)
	if err != nil {
		e.stopped = true
		return failure("the database does not answer: "+reason(err), "see the server's log, or the pooler's"), nil
	}
	return ok("%s on %s, answers in %v", user, database, e.Now().Sub(began).Round(time.Microsecond)), nil
}

func listenConnection(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	if e.ListenURL == e.URL {
		e.conn = e.pooled
		return ok("the same"), nil
	}
	if e.conn, err = connect(ctx, e.ListenURL); err != nil {
		e.stopped = true
		return failure("it can't be had: "+reason(err), "see NOTIFIER_LISTEN_DATABASE_URL, the network, and pg_hba.conf"), nil
	}
	var here, there string
	const which = `-- name: doctor_which
		SELECT current_database() || ' ' || pg_postmaster_start_time()::timestamptz(0)`
	if err := e.pooled.QueryRow(ctx, which).Scan(&there); err != nil {
		return f, err
	}
	if err := e.conn.QueryRow(ctx, which).Scan(&here); err != nil {
		e.stopped = true
		return failure("the database does not answer: "+reason(err), "see the server's log"), nil
	}
	if here != there {
		return failure("it leads to another database than NOTIFIER_DATABASE_URL", "have both lead to the same"), nil
	}
	return ok("leads to the same database"), nil
}

// transactionPooler reports whether a connection is one to a pooler that gives it
// another session with each transaction. Two transactions of the connection are in
// two sessions if, between them, a second connection holds the first one's; and two
// connections are never in the same session otherwise.
func transactionPooler(ctx context.Context, url string) (bool, error) {
	var conns [2]*pgx.Conn
	for i := range conns {
		conn, err := connect(ctx, url)
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close(ctx) }()
		conns[i] = conn
	}
	session := func(conn *pgx.Conn) (pid int, err error) {
		return pid, conn.QueryRow(ctx, `-- name: doctor_session
			SELECT pg_backend_pid()`).Scan(&pid)
	}
	first, err := session(conns[0])
	if err != nil {
		return false, err
	}
	tx, err := conns[1].Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	second, err := session(conns[1])
	if err != nil || second == first {
		return err == nil, err
	}
	again, err := session(conns[0])
	return again != first, err
}

func pooler(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	listens := !e.PollOnly
	between, err := transactionPooler(ctx, e.ListenURL)
	e.sessionless = between
	switch {
	case err != nil:
		return f, err
	case between && listens && e.ListenURL == e.URL:
		return failure("between notifier and the database is a pooler that changes sessions with each transaction: LISTEN does not get through",
			"give NOTIFIER_LISTEN_DATABASE_URL, a direct way to the server; or set NOTIFIER_LISTEN=off"), nil
	case between && listens:
		return failure("NOTIFIER_LISTEN_DATABASE_URL leads through a pooler that changes sessions with each transaction: LISTEN does not get through",
			"have it lead to the server itself; or set NOTIFIER_LISTEN=off"), nil
	}
	if e.ListenURL != e.URL {
		if between, err = transactionPooler(ctx, e.URL); err != nil {
			return f, err
		}
	}
	if !between {
		return ok("none that changes sessions"), nil
	}
	if prepares(e.URL) {
		lost, err := losesStatements(ctx, e.URL)
		if err != nil {
			return f, err
		}
		if lost {
			return failure("NOTIFIER_DATABASE_URL leads through a pooler that loses prepared statements",
				"add default_query_exec_mode=exec to its options; or, with PgBouncer from 1.21 on, set max_prepared_statements there"), nil
		}
	}
	return ok("NOTIFIER_DATABASE_URL leads through one; nothing that needs a session does"), nil
}

// prepares reports whether a server with that URL prepares statements by name.
func prepares(url string) bool {
	config, err := pgx.ParseConfig(url)
	return err == nil && (config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement || config.DefaultQueryExecMode == pgx.QueryExecModeCacheDescribe)
}

// losesStatements prepares a statement in one session, has a second connection hold
// that, and tries it in another.
func losesStatements(ctx context.Context, url string) (bool, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	other, err := connect(ctx, url)
	if err != nil {
		return false, err
	}
	defer func() { _ = other.Close(ctx) }()
	name := privateName()
	if _, err := conn.PgConn().Prepare(ctx, name, "-- name: doctor_prepared\nSELECT 1", nil); err != nil {
		return isMissingStatement(err), ignoreMissing(err)
	}
	tx, err := other.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = conn.PgConn().ExecPrepared(ctx, name, nil, nil, nil).Close()
	return isMissingStatement(err), ignoreMissing(err)
}

// isMissingStatement: Postgres knows no statement of that name.
func isMissingStatement(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "26000"
}

func ignoreMissing(err error) error {
	if isMissingStatement(err) {
		return nil
	}
	return err
}

// privateName returns a name that nobody else has.
func privateName() string { return "notifier_doctor_" + strings.ToLower(rand.Text()) }

// listen sends one notification to itself.
func listen(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	if e.PollOnly {
		return ok("not used: NOTIFIER_LISTEN=off"), nil
	}
	if e.sessionless {
		return ok("not tried: see the pooler"), nil
	}
	usage, err := e.queueUsage(ctx)
	if err != nil {
		return f, err
	}
	if usage > .5 {
		return warning("not tried, as the queue is nearly full", "see the notification queue"), nil
	}
	conn, err := connect(ctx, e.ListenURL)
	if err != nil {
		return f, err
	}
	defer func() { _ = conn.Close(ctx) }() // and it listens no more
	channel := privateName()
	if _, err := conn.Exec(ctx, "-- name: doctor_listen\nLISTEN "+channel); err != nil {
		return f, err
	}
	began := time.Now()
	if _, err := e.conn.Exec(ctx, "-- name: doctor_notify\nSELECT pg_notify($1, '')", channel); err != nil {
		return f, err
	}
	waiting, cancel := context.WithTimeout(ctx, checkTimeout/2)
	defer cancel()
	if _, err := conn.WaitForNotification(waiting); err != nil {
		return failure("a notification was sent and did not come",
			"give NOTIFIER_LISTEN_DATABASE_URL, a direct way to the server; or set NOTIFIER_LISTEN=off"), nil
	}
	return ok("a notification came after %v", time.Since(began).Round(time.Microsecond)), nil
}

func (e *examination) queueUsage(ctx context.Context) (usage float64, err error) {
	err = e.row(ctx, `-- name: doctor_queue
		SELECT pg_notification_queue_usage()`, nil, &usage)
	return usage, err
}

func queue(ctx context.Context, e *examination) (f notifier.Finding, err error) {
	usage, err := e.queueUsage(ctx)
	if err != nil {
		return f, err
	}
	found := fmt.Sprintf("%.3g%% is taken", 100*usage)
	if usage < e.limits.queue {
		return ok("%s", found), nil
	}
	culprits, err := e.texts(ctx, `-- name: doctor_deaf
		SELECT format('pid %s (%s), in a transaction for %s', pid, coalesce(nullif(application_name, ''), usename, '?'),
			date_trunc('second', now() - xact_start))
		FROM pg_stat_activity
		WHERE xact_start < now() - interval '1 second'
			AND pid <> pg_backend_pid()
			AND datid IS NOT NULL
		ORDER BY xact_start
		LIMIT 3`)
	if err != nil {
		return f, err
	}
	if len(culprits) > 0 {
		found += "; the oldest transactions: " + strings.Join(culprits, ", ")
	}
	advice := "a session that LISTENs stays in a transaction: end it; when the queue is full, every transaction that NOTIFYs fails"
	if usage >= .5 {
		return failure(found+"; notifier's doorbell is silent, events wait for the poll", advice), nil
	}
	return warning(found, advice), nil
}
