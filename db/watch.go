package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Watch says how a table is to be watched, by the names that notifier.watch_table
// has for it. What is empty is as there.
type Watch struct {
	Table, EventType        string
	Key, Dataset, Recipient string
	Columns, Without        []string
	Condition               string
	Changes                 []string
	Payload                 string
	Original                bool
	Principal               string
	Actions                 []string
	Public                  bool
}

// ErrNoWatchTable says that the database's schema has no notifier.watch_table, or
// none for this role.
var ErrNoWatchTable = errors.New("the database has no notifier.watch_table: run 'notifier migrate up'")

// WatchSQL returns the statements that have a table watched, and those that end
// it. It needs the rights of who may do that, and changes nothing.
func WatchSQL(ctx context.Context, databaseURL string, w Watch) (watch, unwatch []string, err error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to database: %w", err)
	}
	defer closeConn(conn)
	watch, err = statements(ctx, conn, `-- name: watch_sql
		SELECT notifier.watch_sql(
			$1::text::regclass, $2::text,
			key => nullif($3::text, ''),
			dataset => nullif($4::text, ''),
			recipient => nullif($5::text, ''),
			columns => $6::text[],
			without => $7::text[],
			condition => nullif($8::text, ''),
			changes => $9::text[],
			payload => nullif($10::text, ''),
			original => $11::boolean,
			principal => nullif($12::text, ''),
			actions => coalesce($13::text[], '{create,update,destroy}'),
			public => $14::boolean)`,
		w.Table, w.EventType, w.Key, w.Dataset, w.Recipient, w.Columns, w.Without, w.Condition, w.Changes, w.Payload,
		w.Original, w.Principal, w.Actions, w.Public)
	if err != nil {
		return nil, nil, err
	}
	unwatch, err = statements(ctx, conn, `-- name: unwatch_sql
		SELECT notifier.unwatch_sql($1::text::regclass, $2::text)`, w.Table, w.EventType)
	return watch, unwatch, err
}

func statements(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, watchError(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return list, watchError(err)
}

// watchError finds the server's own words for what is wrong with a watch, and its
// hint: both are written for who asked.
func watchError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return wrap("ask for the statements", err)
	case pgErr.Code == "3F000" || pgErr.Code == "42883" && pgErr.Routine == "ParseFuncOrColumn":
		return ErrNoWatchTable
	case pgErr.Hint != "":
		return fmt.Errorf("%s (%s)", pgErr.Message, pgErr.Hint)
	default:
		return errors.New(pgErr.Message)
	}
}
