package db_test

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/jackc/pgx/v5"
)

// something does one transaction of a random kind.
func (w *writer) something(ctx context.Context) error {
	kinds := []struct {
		share int
		do    func(context.Context) error
	}{
		{40, w.plain}, {10, w.rolledBack}, {10, w.savepoints}, {5, w.onlyInSavepoint}, {15, w.object},
		{4, w.openAcrossOthers}, {3, w.immediate}, {3, w.silent}, {2, w.killed}, {1, w.hungUp}, {2, w.killedInCommit},
	}
	total := 0
	for _, k := range kinds {
		total += k.share
	}
	n := w.rng.IntN(total)
	for _, k := range kinds {
		if n < k.share {
			return k.do(ctx)
		}
		n -= k.share
	}
	return nil
}

// steps does one thing after the other until one fails.
func steps(ctx context.Context, all ...func(context.Context) error) error {
	for _, step := range all {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) sql(text string) func(context.Context) error {
	return func(ctx context.Context) error { return w.exec(ctx, text) }
}

func (w *writer) rows(most int) func(context.Context) error {
	return func(ctx context.Context) error { return w.insert(ctx, 1+w.rng.IntN(most)) }
}

func (w *writer) others(count int64) func(context.Context) error {
	return func(context.Context) error {
		w.awaitOthers(count, w.stop)
		return nil
	}
}

func (w *writer) plain(ctx context.Context) error {
	if w.rng.IntN(2) == 0 { // one statement is a transaction by itself
		return w.alone(ctx)
	}
	return steps(ctx, w.sql("BEGIN"), w.rows(20), w.rows(3), w.commit)
}

// alone inserts without BEGIN: the answer to the statement is that to COMMIT.
func (w *writer) alone(ctx context.Context) error {
	first := w.take(3)
	return w.end(ctx, fmt.Sprintf(`INSERT INTO notifier.events (type, recipient, principal)
		SELECT 'plain', 'user' || i %% %d, '%d/' || i FROM generate_series(%d, %d) AS i`, users, w.id, first, first+2), "INSERT 0 3")
}

func (w *writer) rolledBack(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), w.rows(20), w.rollback)
}

// savepoints rolls back a part, with savepoints in it, and keeps the rest.
func (w *writer) savepoints(ctx context.Context) error {
	if err := steps(ctx, w.sql("BEGIN"), w.rows(5), w.sql("SAVEPOINT a")); err != nil {
		return err
	}
	first := len(w.outcomes)
	err := steps(ctx, w.rows(5), w.sql("SAVEPOINT b"), w.rows(5), w.sql("RELEASE b"), w.sql("ROLLBACK TO a"))
	if err != nil {
		return err
	}
	w.loseFrom(first)
	return steps(ctx, w.sql("SAVEPOINT c"), w.rows(3), w.commit)
}

// onlyInSavepoint has its first rows rolled back, and with them what has queued
// the doorbell.
func (w *writer) onlyInSavepoint(ctx context.Context) error {
	if err := steps(ctx, w.sql("BEGIN; SAVEPOINT a")); err != nil {
		return err
	}
	first := len(w.outcomes)
	if err := steps(ctx, w.rows(5), w.sql("ROLLBACK TO a")); err != nil {
		return err
	}
	w.loseFrom(first)
	return steps(ctx, w.rows(5), w.commit)
}

func (w *writer) loseFrom(first int) {
	for i := first; i < len(w.outcomes); i++ {
		w.outcomes[i] = lost
	}
}

// object changes a row with a trigger, now and then under its lock for longer.
func (w *writer) object(ctx context.Context) error {
	id := 1 + w.rng.IntN(objects)
	update := func(ctx context.Context) error {
		n := w.take(1)
		return w.exec(ctx, `UPDATE objects SET token = $2 WHERE id = $1`, id, fmt.Sprint(w.id, "/", n))
	}
	if w.rng.IntN(3) == 0 {
		return steps(ctx, w.sql("BEGIN"), update, update, w.rows(2), w.commit)
	}
	return steps(ctx, w.sql("BEGIN"), update, w.commit)
}

// openAcrossOthers is the late committer that cursors by time or by id lose.
func (w *writer) openAcrossOthers(ctx context.Context) error {
	finish := w.commit
	if w.rng.IntN(4) == 0 {
		finish = w.rollback
	}
	return steps(ctx, w.sql("BEGIN"), w.rows(10), w.others(w.rng.Int64N(300)), w.rows(10), finish)
}

// immediate takes the locks of the doorbell early and keeps them.
func (w *writer) immediate(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), w.rows(3), w.sql("SET CONSTRAINTS ALL IMMEDIATE"), w.others(w.rng.Int64N(30)), w.rows(3), w.commit)
}

// silent rings for nobody: a poll has to find it.
func (w *writer) silent(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN; SET LOCAL notifier.doorbell = 'off'"), w.rows(5), w.commit)
}

// killed has its connection terminated by the server before it commits.
func (w *writer) killed(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), w.rows(10), func(ctx context.Context) error {
		return w.exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
	}, w.commit)
}

// hungUp vanishes without a word before it commits.
func (w *writer) hungUp(ctx context.Context) error {
	if err := steps(ctx, w.sql("BEGIN"), w.rows(10)); err != nil {
		return err
	}
	if tcp, ok := w.conn.PgConn().Conn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = w.conn.PgConn().Conn().Close()
	w.recover(net.ErrClosed)
	return nil
}

// killedInCommit has its connection terminated around the time of its COMMIT:
// only the table can tell what became of it.
func (w *writer) killedInCommit(ctx context.Context) error {
	if err := steps(ctx, w.sql("BEGIN"), w.rows(10)); err != nil {
		return err
	}
	var killer sync.WaitGroup
	pid := w.conn.PgConn().PID()
	killer.Go(func() { // ends with its statement
		_, _ = w.killers.Exec(ctx, "SELECT pg_terminate_backend($1)", pid)
	})
	err := w.commit(ctx)
	killer.Wait()
	return err
}

// bulk inserts 10,000 rows in one statement.
func (w *writer) bulk(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), func(ctx context.Context) error { return w.insert(ctx, 10_000) }, w.commit, w.others(300))
}

func (w *writer) copyRows(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), func(ctx context.Context) error {
		count := 1 + w.rng.IntN(3000)
		first := w.take(count)
		_, err := w.conn.CopyFrom(ctx, pgx.Identifier{"notifier", "events"}, []string{"type", "recipient", "principal"},
			pgx.CopyFromSlice(count, func(i int) ([]any, error) {
				return []any{"plain", userName(i % users), fmt.Sprint(w.id, "/", first+i)}, nil
			}))
		return err
	}, w.commit, w.others(100))
}

// prepare commits in two phases, which a NOTIFY would not allow.
func (w *writer) prepare(ctx context.Context) error {
	name := fmt.Sprint("writer ", w.id, " ", len(w.outcomes))
	err := steps(ctx, w.sql("BEGIN; SET LOCAL notifier.doorbell = 'off'"), w.rows(5))
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "PREPARE TRANSACTION "+quote(name)); err != nil {
		w.settle(unsure)
		return err
	}
	finish := func(ctx context.Context) error { return w.end(ctx, "COMMIT PREPARED "+quote(name), "COMMIT PREPARED") }
	if w.rng.IntN(4) == 0 {
		finish = func(ctx context.Context) error {
			w.settle(lost) // prepared or not, nobody will commit it
			return w.exec(ctx, "ROLLBACK PREPARED "+quote(name))
		}
	}
	return steps(ctx, w.others(w.rng.Int64N(50)), finish)
}

// openGiant has a huge transaction open for most of the time. If a crash takes
// it there is another one.
func (w *writer) openGiant(ctx context.Context) error {
	return steps(ctx, w.sql("BEGIN"), func(ctx context.Context) error { return w.insert(ctx, w.giant) }, w.others(2000), w.commit, w.others(1<<40))
}
