package db_test

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// scalar returns the one value a statement selects.
func scalar[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var value T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// column returns the one column a statement selects.
func column[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) []T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// sorted returns a sorted copy.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// logText is what a logger has written so far.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logText) contains(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}

// awaitRound waits until the feed has begun a whole round of reading after this
// call, also one that finds nothing and so shows nowhere else. The feed must be
// polling.
func awaitRound(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const round = `SELECT EXISTS (
		SELECT FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'notifier feed'
			AND query LIKE '%name: read_span%' AND query_start > $1::timestamptz)`
	from := scalar[string](t, conn, `SELECT clock_timestamp()::text`)
	dbtest.Eventually(t, "the feed reads again", func() bool { return scalar[bool](t, conn, round, from) })
}

// tortureTime is how long each torture test has: NOTIFIER_TORTURE, or in an
// ordinary run a little.
func tortureTime(t *testing.T, ordinary time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("NOTIFIER_TORTURE")
	if text == "" {
		return ordinary
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NOTIFIER_TORTURE: %v", err)
	}
	return d
}

// scaled is a size in an ordinary run, and under torture.
func scaled(ordinary, torture int) int {
	if os.Getenv("NOTIFIER_TORTURE") == "" {
		return ordinary
	}
	return torture
}
