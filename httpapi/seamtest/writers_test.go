package seamtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	writerCount = 16
	keyCount    = 12
)

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
		if _, err = tx.Exec(ctx, `INSERT INTO notifier.events (type, action, key, recipient, payload)
			VALUES ($1, 'save', $2, 'reader', $3)`, eventType, fmt.Sprint(key), fmt.Sprintf(`"%x %s"`, rng.Uint64(), strings.Repeat("x", rng.IntN(200)))); err != nil {
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

func startWriters(ctx context.Context, url string, wg *sync.WaitGroup) {
	for n := range writerCount {
		wg.Go(func() { write(ctx, url, n) }) // ends with ctx
	}
}
