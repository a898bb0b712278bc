package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// outcome is what a writer knows of one of its events.
type outcome uint8

const (
	pending outcome = iota // its transaction is open
	lost                   // rolled back, for certain
	stored                 // committed, for certain
	unsure                 // the connection broke at COMMIT: the table tells
)

// writer does one transaction after the other on a connection of its own. Only
// its goroutine uses it, and the verdict after that has ended.
type writer struct {
	*torture
	t        *testing.T
	id       int32
	rng      *rand.Rand
	conn     *pgx.Conn
	outcomes []outcome // by the n of the token
}

// write starts the writers; they end soon after stop is closed.
func (x *torture) write(t *testing.T) *sync.WaitGroup {
	var group sync.WaitGroup
	for range mixedWriters {
		x.startWriter(t, &group, (*writer).something)
	}
	x.startWriter(t, &group, (*writer).bulk)
	x.startWriter(t, &group, (*writer).copyRows)
	x.startWriter(t, &group, (*writer).prepare)
	x.startWriter(t, &group, (*writer).openGiant)
	return &group
}

func (x *torture) startWriter(t *testing.T, group *sync.WaitGroup, step func(*writer, context.Context) error) {
	w := &writer{torture: x, t: t, id: int32(len(x.writers))}
	w.rng = rand.New(rand.NewPCG(uint64(w.id), 2))
	x.writers = append(x.writers, w)
	group.Go(func() {
		defer w.disconnect()
		for !closed(x.stop) && w.connect() {
			if err := step(w, t.Context()); err != nil {
				w.recover(err)
			}
		}
	})
}

// connect makes sure that there is a connection; it is false if there can't be
// one any more.
func (w *writer) connect() bool {
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for w.conn == nil || w.conn.IsClosed() {
		conn, err := pgx.Connect(w.t.Context(), w.url)
		if err == nil {
			w.conn = conn
			break
		}
		if time.Now().After(deadline) {
			w.t.Errorf("writer %d can't connect: %v", w.id, err)
			return false
		}
		<-tick.C
	}
	return true
}

func (w *writer) disconnect() {
	if w.conn != nil {
		_ = w.conn.Close(context.Background())
	}
}

// recover decides what an error means for the transaction it happened in, which
// has not been asked to commit, and makes the connection usable again.
func (w *writer) recover(err error) {
	w.settle(lost)
	w.counts.killed.Add(1)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.SeverityUnlocalized == "ERROR" && !tolerated[refused.Code] {
		w.t.Errorf("writer %d: %v", w.id, err)
	}
	w.disconnect()
}

// tolerated are the errors that belong to the torture: statements that met one
// another, or an end.
var tolerated = map[string]bool{
	"40P01": true, // deadlock
	"57014": true, // canceled
}

// settle gives the pending events their outcome.
func (w *writer) settle(to outcome) {
	for i := len(w.outcomes) - 1; i >= 0; i-- {
		if w.outcomes[i] == stored || w.outcomes[i] == unsure {
			break
		}
		if w.outcomes[i] == pending {
			w.outcomes[i] = to
		}
	}
}

func (w *writer) exec(ctx context.Context, sql string, args ...any) error {
	_, err := w.conn.Exec(ctx, sql, args...)
	return err
}

// insertRows inserts rows as the writer's next ones. Most are for somebody; most
// have the present time.
const insertRows = `-- name: torture
	INSERT INTO notifier.events (created_at, type, key, recipient, principal)
	SELECT CASE WHEN $4 THEN clock_timestamp() + interval '1 hour' * (i % 5 - 2) ELSE clock_timestamp() END,
		CASE WHEN $4 THEN 'odd' ELSE 'plain' END,
		i % 7,
		CASE WHEN i % 8 > 0 THEN 'user' || (i * 31 + $1) % $5::int END,
		$1::int || '/' || i
	FROM generate_series($2::int, $3::int) AS i`

func (w *writer) insert(ctx context.Context, count int) error {
	odd := w.rng.IntN(10) == 0
	first := w.take(count)
	return w.exec(ctx, insertRows, w.id, first, len(w.outcomes)-1, odd, users)
}

// take makes the next tokens pending and returns the first one's n.
func (w *writer) take(count int) int {
	first := len(w.outcomes)
	w.outcomes = append(w.outcomes, make([]outcome, count)...)
	return first
}

// commit ends the transaction and records what is known about that.
func (w *writer) commit(ctx context.Context) error { return w.end(ctx, "COMMIT", "COMMIT") }

// end runs what shall commit; an answer with another tag means that it did not.
func (w *writer) end(ctx context.Context, sql, tag string) error {
	got, err := w.conn.Exec(ctx, sql)
	refused, isRefused := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil && got.String() == tag:
		w.settle(stored)
		w.committed.Add(1)
		return nil
	case err == nil:
		return fmt.Errorf("%s was answered by %s", sql, got)
	case isRefused && refused.SeverityUnlocalized == "ERROR":
		return err
	}
	w.settle(unsure)
	w.counts.unknown.Add(1)
	w.disconnect()
	return nil
}

func (w *writer) rollback(ctx context.Context) error {
	if err := w.exec(ctx, "ROLLBACK"); err != nil {
		return err
	}
	w.settle(lost)
	w.counts.rolledBack.Add(1)
	return nil
}
