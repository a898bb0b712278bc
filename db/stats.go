package db

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Stats is what a [DB] has done since it was opened.
type Stats struct {
	EventsRead int64 // by the feed, control events too
	// Rings are the notifications that came, Chases the reads made soon after
	// another because somebody may be committing who does not ring.
	Rings, Chases int64
	// FallbackFinds are the polls that found what nobody had rung for. Without
	// LISTEN, where every event is found by one, they are not counted.
	FallbackFinds int64
	Reconnects    int64 // attempts of the feed to connect again
	ReplayRows    int64 // rows of stored events read for clients, before anything is sorted out
	LargePayloads int64 // events read by the feed whose payload was left out

	Pools []PoolStats
}

// PoolStats is the state of one pool of connections.
type PoolStats struct {
	Name string // "main", or "live" for what live delivery waits for

	InUse, Idle, Max int
	Acquires         int64         // how often a connection was had
	Waits            int64         // how often only after waiting for one
	Waited           time.Duration // in all
}

// counters are those of [Stats] that are counted where things happen.
type counters struct {
	eventsRead, rings, chases, fallbackFinds, reconnects, replayRows, largePayloads atomic.Int64
}

// Stats returns the figures of this moment. It does not ask the database.
func (d *DB) Stats() Stats {
	c := &d.counters
	return Stats{
		EventsRead:    c.eventsRead.Load(),
		Rings:         c.rings.Load(),
		Chases:        c.chases.Load(),
		FallbackFinds: c.fallbackFinds.Load(),
		Reconnects:    c.reconnects.Load(),
		ReplayRows:    c.replayRows.Load(),
		LargePayloads: c.largePayloads.Load(),
		Pools:         []PoolStats{poolStats("main", d.pool), poolStats("live", d.live)},
	}
}

func poolStats(name string, pool *pgxpool.Pool) PoolStats {
	s := pool.Stat()
	return PoolStats{
		Name:     name,
		InUse:    int(s.AcquiredConns()),
		Idle:     int(s.IdleConns()),
		Max:      int(s.MaxConns()),
		Acquires: s.AcquireCount(),
		Waits:    s.EmptyAcquireCount(),
		Waited:   s.EmptyAcquireWaitTime(),
	}
}

// QueueUsage asks which part of the cluster's queue of notifications is taken, 0
// to 1. At 1, every transaction that NOTIFYs fails; long before that, notifier's
// doorbell falls silent.
func (d *DB) QueueUsage(ctx context.Context) (part float64, err error) {
	err = d.pool.QueryRow(ctx, `-- name: queue_usage
		SELECT pg_notification_queue_usage()`).Scan(&part)
	return part, wrap("ask how full the notification queue is", err)
}
