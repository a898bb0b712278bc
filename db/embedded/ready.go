package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// errEarlyEnd is wrapped when a server ended before it accepted a connection.
var errEarlyEnd = errors.New("postgres ended while starting")

// awaitReady waits until the server accepts connections and the configured database is there.
// The server itself says when it is ready, in postmaster.pid; asking its port earlier could
// reach a stranger's.
func (s *Server) awaitReady(ctx context.Context, p *process, port int) error {
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		if p.ended() {
			return false, errEarlyEnd
		}
		f, ok := readPidFile(s.config.dataDir())
		return ok && f.ready && f.pid == p.cmd.Process.Pid, nil
	})
	if err != nil {
		return fmt.Errorf("start postgres on port %d: %w; its log %s ends:\n%s", port, err, s.config.logFile(), s.logTail())
	}
	return s.ensureDatabase(ctx, port)
}

// ensureDatabase connects, and makes the configured database if it is missing: at the first
// start, or when that was interrupted right after initdb.
func (s *Server) ensureDatabase(ctx context.Context, port int) error {
	conn, err := pgx.Connect(ctx, s.config.url(port, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the started server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", s.config.Database).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for database %q: %w", s.config.Database, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{s.config.Database}.Sanitize()); err != nil {
		return fmt.Errorf("create database %q: %w", s.config.Database, err)
	}
	return nil
}
