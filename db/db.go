package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/notifier/notifier"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how to reach Postgres and how to read it.
type Config struct {
	URL       string // for publishing and replay; may go through a pooler
	ListenURL string // for LISTEN and live reading, a direct connection; "": URL
	PollOnly  bool   // never LISTEN: for poolers and serverless databases

	// PollInterval is how often the log is read although nobody rang.
	// 0: 5 s, or 250 ms if PollOnly.
	PollInterval time.Duration
	// Retention is how long events are kept at least. 0: 7 days.
	Retention time.Duration
	// MaxPayload is the size in bytes up to which payload and original are
	// delivered; a larger one goes out as null. 0: 1 MiB.
	MaxPayload int
	// MaxConns bounds the pool. 0: 16. Up to five more serve live delivery.
	MaxConns int
	// Logger is where the feed and retention report. nil: nowhere.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.ListenURL == "" {
		c.ListenURL = c.URL
	}
	if c.PollInterval == 0 {
		c.PollInterval = 5 * time.Second
		if c.PollOnly {
			c.PollInterval = 250 * time.Millisecond
		}
	}
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 1 << 20
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var problems []error
	if c.URL == "" {
		problems = append(problems, errors.New("database URL is missing"))
	}
	for name, value := range map[string]int64{
		"poll interval": int64(c.PollInterval), "retention": int64(c.Retention),
		"maximal payload": int64(c.MaxPayload), "maximal connections": int64(c.MaxConns),
	} {
		if value < 0 {
			problems = append(problems, fmt.Errorf("%s is negative", name))
		}
	}
	return c, errors.Join(problems...)
}

// DB is a connection pool to the database and what notifier does with it. All
// methods may be called from any goroutine; Feed and Retain once each.
type DB struct {
	config Config
	pool   *pgxpool.Pool
	live   *pgxpool.Pool // for what the delivery to everybody waits for: no client's command or replay gets in its way
	listen *pgx.ConnConfig
	// reading bounds the pages that are read at once for clients that are behind:
	// thousands of them must leave room for the others.
	reading chan struct{}
	listing chan struct{} // the same for going through the log for replays by time
	state   atomic.Pointer[feedState]
	// history is the one that the feed follows, nil before it does.
	history  atomic.Pointer[notifier.History]
	resuming resuming

	counters counters
}

// Open connects to the database. It fails if the server can't be reached, is a
// standby, or keeps text in another encoding than UTF-8.
func Open(ctx context.Context, c Config) (*DB, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	listen, err := pgx.ParseConfig(c.ListenURL)
	if err != nil {
		return nil, fmt.Errorf("parse listen database URL: %w", err)
	}
	pool, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("parse database URL: %w", err)
	}
	pool.MaxConns = int32(min(c.MaxConns, 10_000)) //nolint:gosec // bounded here
	pool.AfterConnect = checkServer
	nameApplication(pool.ConnConfig, "notifier")
	nameApplication(listen, "notifier feed")
	if listen.ConnectTimeout == 0 {
		listen.ConnectTimeout = connectTimeout
	}
	if pool.ConnConfig.ConnectTimeout == 0 {
		pool.ConnConfig.ConnectTimeout = connectTimeout
	}
	d := &DB{config: c, listen: listen, reading: make(chan struct{}, max(1, c.MaxConns/4)), listing: make(chan struct{}, max(1, c.MaxConns/8))}
	if d.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if err := d.pool.Ping(ctx); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	live := pool.Copy()
	live.MaxConns = liveConns
	if d.live, err = pgxpool.NewWithConfig(ctx, live); err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("open pool: %w", err)
	}
	d.state.Store(&feedState{problem: errNotStarted})
	return d, nil
}

// liveConns bounds the second pool: one question at a time is what a page of
// events waits for, and replays ask some, too.
const liveConns = 4

// connectTimeout bounds connecting, if the URL does not: a host may accept a
// connection and never answer.
const connectTimeout = 10 * time.Second

// nameApplication makes the connection recognisable in pg_stat_activity unless
// the operator has named it.
func nameApplication(c *pgx.ConnConfig, name string) {
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = name
	}
}

// Close closes the pools; it waits for connections in use.
func (d *DB) Close() {
	d.resuming.working.Wait()
	d.pool.Close()
	d.live.Close()
}

// OldestServer returns the newest migration that a server must know to work with
// the database's schema, which must be there.
func (d *DB) OldestServer(ctx context.Context) (int64, error) {
	var version int64
	err := d.pool.QueryRow(ctx, `-- name: oldest_server
		SELECT notifier.oldest_server()`).Scan(&version)
	return version, wrap("read whom the schema is for", err)
}

// SchemaVersion returns the newest applied migration, 0 if there is none.
func (d *DB) SchemaVersion(ctx context.Context) (int64, error) {
	var exists bool
	err := d.pool.QueryRow(ctx, `-- name: schema_table
		SELECT to_regclass('notifier.goose_db_version') IS NOT NULL`).Scan(&exists)
	if err != nil || !exists {
		return 0, wrap("look for the schema", err)
	}
	var version int64
	err = d.pool.QueryRow(ctx, `-- name: schema_version
		SELECT coalesce(max(version_id), 0)
		FROM notifier.goose_db_version
		WHERE is_applied`).Scan(&version)
	return version, wrap("read the schema version", err)
}

// wrap says what was being done when err happened; nil stays nil.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
