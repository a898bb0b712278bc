package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// timeout bounds the whole examination, checkTimeout each part of it.
	timeout      = time.Minute
	checkTimeout = 10 * time.Second
	// statementTimeout is what Postgres is told.
	statementTimeout = "5s"
)

// Config says what to examine.
type Config struct {
	URL       string // as [db.Config]'s
	ListenURL string // the same; "": URL
	PollOnly  bool   // the servers are not to LISTEN
	// Required is the version of the schema that is needed.
	Required int64
	// Retention is how long events are kept; 0: 7 days.
	Retention time.Duration
	// Connections is how many a server may open to the database; 0: 21.
	Connections int
	// Now is this machine's clock; nil: time.Now.
	Now func() time.Time

	limits limits // zero: the usual
}

// limits are what tests lower, to come to them with little effort.
type limits struct {
	queue        float64 // part of the notification queue from which on it is worth a warning
	largeTable   float64 // rows from which on a table should not be scanned
	transaction  time.Duration
	freeForLocks float64
}

func (c Config) withDefaults() Config {
	if c.ListenURL == "" {
		c.ListenURL = c.URL
	}
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.Connections == 0 {
		c.Connections = 21
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.limits == (limits{}) {
		c.limits = limits{queue: .1, largeTable: 10_000, transaction: 10 * time.Minute, freeForLocks: .5}
	}
	return c
}

// examination is one call of [Examine].
type examination struct {
	Config
	conn   *pgx.Conn // to the server itself, as far as that is known
	pooled *pgx.Conn // by URL, if that is another one; else the same
	found  []notifier.Finding
	// sessionless: ListenURL leads to another session with each transaction.
	sessionless bool
	// stopped: there is nothing to look at for the rest.
	stopped bool
}

// check looks at one thing. An error means that it could not be looked at; that is
// a warning.
type check struct {
	name string
	look func(ctx context.Context, e *examination) (notifier.Finding, error)
}

// Examine looks at everything, as far as it can be looked at.
func Examine(ctx context.Context, c Config) []notifier.Finding {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e := &examination{Config: c.withDefaults()}
	defer e.close()
	for _, c := range slices.Concat(connecting, serverChecks, schemaChecks) {
		if e.run(ctx, c); e.stopped {
			break
		}
	}
	return e.found
}

func (e *examination) run(ctx context.Context, c check) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if e.conn != nil && e.conn.IsClosed() { // a statement that was given up takes its connection along
		if conn, err := connect(ctx, e.ListenURL); err == nil {
			if e.pooled == e.conn {
				e.pooled = conn
			}
			e.conn = conn
		}
	}
	f, err := c.look(ctx, e)
	if err != nil {
		f = warning("could not be looked at: "+reason(err), "see whether the role may read it, and whether the database answers in time")
	}
	f.Name = c.name
	e.found = append(e.found, f)
}

func (e *examination) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, conn := range []*pgx.Conn{e.conn, e.pooled} {
		if conn != nil {
			_ = conn.Close(ctx) // twice is fine
		}
	}
}

func ok(format string, args ...any) notifier.Finding {
	return notifier.Finding{Status: notifier.OK, Found: fmt.Sprintf(format, args...)}
}

func warning(found, advice string) notifier.Finding {
	return notifier.Finding{Status: notifier.Warning, Found: found, Advice: advice}
}

func failure(found, advice string) notifier.Finding {
	return notifier.Finding{Status: notifier.Failure, Found: found, Advice: advice}
}

// reason words an error shortly.
func reason(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Message
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// connect opens a connection that works through a pooler too.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the connection string can't be used") // the error may quote it
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "notifier doctor"
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return pgx.ConnectConfig(ctx, config)
}

// within runs statements in a transaction that can't write, with nothing of the
// session's: through a pooler that is somebody else's too.
func within(ctx context.Context, conn *pgx.Conn, work func(tx pgx.Tx) error) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing was written
	_, err = tx.Exec(ctx, `-- name: doctor_begin
		SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $1, true),
			set_config('search_path', '', true), set_config('jit', 'off', true)`, statementTimeout)
	if err != nil {
		return err
	}
	return work(tx)
}

// row asks for one row.
func (e *examination) row(ctx context.Context, sql string, args []any, into ...any) error {
	return within(ctx, e.conn, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql, args...).Scan(into...) })
}

// texts asks for one column of texts.
func (e *examination) texts(ctx context.Context, sql string, args ...any) (all []string, err error) {
	err = within(ctx, e.conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return all, err
}
