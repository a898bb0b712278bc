package migrations_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/notifier/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var discard = slog.New(slog.DiscardHandler)

const (
	insufficientPrivilege = "42501"
	readOnlyTransaction   = "25006"
	featureNotSupported   = "0A000"
	nullNotAllowed        = "22004"
	generatedAlways       = "428C9"
)

func exec(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func scalar[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// refused demands an error of one SQLSTATE.
func refused(t *testing.T, conn *pgx.Conn, code, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	if sqlState(err) != code {
		t.Errorf("%s: got %v, want SQLSTATE %s", sql, err, code)
	}
}

func sqlState(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// as rewrites a database URL for another role.
func as(t *testing.T, databaseURL, role, password string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// listener hears the doorbell.
type listener struct{ conn *pgx.Conn }

func listen(t *testing.T, databaseURL string) *listener {
	t.Helper()
	l := &listener{conn: dbtest.Connect(t, databaseURL)}
	exec(t, l.conn, "LISTEN notifier")
	return l
}

// heard counts what rang since the last call. Notifications arrive in the order of their commits, so a mark of our
// own ends the count: nothing has to be waited for that may not come.
func (l *listener) heard(t *testing.T) int {
	t.Helper()
	exec(t, l.conn, "SELECT pg_notify('notifier', 'mark')")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; ; n++ {
		note, err := l.conn.WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("wait for notification: %v", err)
		}
		if note.Payload == "mark" {
			return n
		}
		if note.Payload != "" {
			t.Errorf("the bell carries %q, want nothing", note.Payload)
		}
	}
}
