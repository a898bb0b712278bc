//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"example.com/notifier/db/embedded"
	"example.com/notifier/migrations"
	"github.com/jackc/pgx/v5"
)

// stopTimeout bounds ending what was started, also after an interrupt.
const stopTimeout = 30 * time.Second

// cluster is a private PostgreSQL whose commits are durable.
type cluster struct{ *embedded.Server }

func startCluster(ctx context.Context, dir, binDir string, progress io.Writer) (*cluster, error) {
	server, err := embedded.Start(ctx, embedded.Config{
		Dir: filepath.Join(dir, "postgres"), BinDir: binDir, Durable: true,
		Download: embedded.Download{Allowed: true}, Progress: progress,
		Settings: map[string]string{
			// A checkpoint or a vacuum that falls into one run and not into its
			// rival would be measured instead of what is.
			"max_wal_size":       "16GB",
			"checkpoint_timeout": "1h",
			"autovacuum":         "off",
			"shared_buffers":     "512MB",
		},
	})
	if err != nil {
		return nil, err
	}
	return &cluster{server}, nil
}

func (c *cluster) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return c.Stop(ctx)
}

// database makes a database with notifier's schema, and then runs statements in
// it.
func (c *cluster) database(ctx context.Context, name string, statements ...string) (url string, err error) {
	err = c.exec(ctx, c.URL(""), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	if err != nil {
		return "", err
	}
	url = c.URL(name)
	if err := migrations.Up(ctx, url, slog.New(slog.DiscardHandler)); err != nil {
		return "", err
	}
	return url, c.exec(ctx, url, statements...)
}

// exec runs statements on a connection of its own.
func (c *cluster) exec(ctx context.Context, url string, statements ...string) error {
	return withConn(ctx, url, func(conn *pgx.Conn) error {
		for _, statement := range statements {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("run %.40q: %w", statement, err)
			}
		}
		return nil
	})
}

// rows counts the rows of the log.
func (c *cluster) rows(ctx context.Context, url string) (n int64, err error) {
	err = withConn(ctx, url, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, countRows).Scan(&n)
	})
	return n, err
}

// durability tells the settings that make a commit durable.
func (c *cluster) durability(ctx context.Context) (text string, err error) {
	err = withConn(ctx, c.URL(""), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, showDurability).Scan(&text)
	})
	return text, err
}

// withConn lends a connection.
func withConn(ctx context.Context, url string, use func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	err = use(conn)
	return errors.Join(err, closeConn(conn))
}

func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return conn.Close(ctx)
}
