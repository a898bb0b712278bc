package seamtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const keyCount = 12

// QuietTopic is an object of which little is heard, as airlay's clients name it.
const QuietTopic = "quiet 12"

// Prepare makes what the writers need, and returns a cursor from before all that
// they write.
func Prepare(t testing.TB, conn *pgx.Conn) (start string) {
	t.Helper()
	for _, sql := range []string{
		`CREATE TABLE objects (key int PRIMARY KEY, version int NOT NULL DEFAULT 0)`,
		fmt.Sprintf(`INSERT INTO objects (key) SELECT generate_series(0, %d)`, keyCount+2),
		`INSERT INTO notifier.events (type) VALUES ('before')`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRow(t.Context(), `SELECT notifier.position()`).Scan(&start); err != nil {
		t.Fatal(err)
	}
	return start
}

// idioms are the ways to publish in SQL, of a type, a key and a payload.
var idioms = []string{
	`INSERT INTO notifier.events (type, action, key, recipient, payload) VALUES ($1, 'save', $2, 'reader', $3)`,
	`SELECT notifier.publish($1, 'save', $2, payload => $3, recipient => 'reader')`,
}

// write commits events until the context ends: in transactions that lock the
// objects they write to, take their time, overlap, and sometimes roll back.
func write(ctx context.Context, url string, writer int) {
	rng := rand.New(rand.NewPCG(uint64(writer), 7)) //nolint:gosec // made up
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		for err == nil && ctx.Err() == nil {
			err = transaction(ctx, conn, rng)
			pause(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
		}
		_ = conn.Close(context.WithoutCancel(ctx))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func transaction(ctx context.Context, conn *pgx.Conn, rng *rand.Rand) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	first := rng.IntN(keyCount)
	for n := range 1 + rng.IntN(3) {
		key := first + n // in one order, or they would lock each other out
		if _, err = tx.Exec(ctx, `UPDATE objects SET version = version + 1 WHERE key = $1`, key); err != nil {
			break
		}
		eventType := "loud"
		if key >= keyCount {
			eventType = "quiet" // two of the objects, seldom
		}
		if _, err = tx.Exec(ctx, idioms[rng.IntN(len(idioms))], eventType, fmt.Sprint(key), fmt.Sprintf(`"%x %s"`, rng.Uint64(), strings.Repeat("x", rng.IntN(200)))); err != nil {
			break
		}
		pause(ctx, time.Duration(rng.IntN(8))*time.Millisecond)
	}
	if err != nil || rng.IntN(10) == 0 {
		_ = tx.Rollback(ctx)
		return err
	}
	return tx.Commit(ctx)
}

// StartWriters has as many commit events for reader as count says, until ctx ends.
func StartWriters(ctx context.Context, url string, count int, wg *sync.WaitGroup) {
	for n := range count {
		wg.Go(func() { write(ctx, url, n) }) // ends with ctx
	}
}
