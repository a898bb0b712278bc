package dbtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/embedded"
)

// template is the database that New clones.
const template = "notifier_template"

// operationTimeout bounds each statement this package runs by itself; on a busy machine
// cloning waits for its turn.
const operationTimeout = time.Minute

// process is what the tests of one binary share. A package variable is the only place all
// tests of a binary can reach; Main empties it.
var process shared

// shared is a cluster started by the first test that needs it.
type shared struct {
	mu       sync.Mutex // held while a database is made or dropped: cloning excludes other uses of the template anyway
	cluster  *guarded
	admin    *pgx.Conn
	err      error // why there is no cluster; every later test gets it too
	migrated bool
	count    int
}

// startLocked starts the cluster unless it runs.
func (s *shared) startLocked(ctx context.Context) error {
	if s.cluster != nil || s.err != nil {
		return s.err
	}
	s.cluster, s.err = startGuarded(ctx, embedded.Config{Settings: sharedSettings()})
	return s.err
}

func sharedSettings() map[string]string {
	return map[string]string{
		"max_connections":           "300",
		"max_prepared_transactions": "10",
		"shared_buffers":            "128MB",
		"log_min_messages":          "fatal", // tests provoke errors by the thousand
		"log_checkpoints":           "off",
		"max_wal_size":              "4GB",
		"autovacuum_naptime":        "10s",
	}
}

// execLocked runs a statement on the maintenance connection, opening it when there is none.
func (s *shared) execLocked(ctx context.Context, sql string) error {
	if s.admin == nil || s.admin.IsClosed() {
		conn, err := pgx.Connect(ctx, s.cluster.URL("postgres"))
		if err != nil {
			return fmt.Errorf("connect to test cluster: %w", err)
		}
		s.admin = conn
	}
	_, err := s.admin.Exec(ctx, sql)
	return err
}

// migrateLocked makes the template once.
func (s *shared) migrateLocked(ctx context.Context) error {
	if s.migrated {
		return nil
	}
	if err := s.execLocked(ctx, "CREATE DATABASE "+template); err != nil {
		return fmt.Errorf("create template: %w", err)
	}
	if err := migrate(ctx, s.cluster.URL(template), slog.New(slog.DiscardHandler)); err != nil {
		s.err = fmt.Errorf("migrate template: %w", err)
		return s.err
	}
	// A clone needs the template without sessions: nobody gets in any more.
	if err := s.execLocked(ctx, "ALTER DATABASE "+template+" WITH ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("close template: %w", err)
	}
	s.migrated = true
	return nil
}

// create makes a database for a test and returns its name.
func (s *shared) create(ctx context.Context, t testing.TB, source string) (name, url string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startLocked(ctx); err != nil {
		return "", "", err
	}
	if source == template {
		if err := s.migrateLocked(ctx); err != nil {
			return "", "", err
		}
	}
	s.count++
	name = databaseName(s.count, t.Name())
	sql := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize() + " TEMPLATE " + source
	if err := s.execLocked(ctx, sql); err != nil {
		return "", "", fmt.Errorf("clone %s: %w", source, err)
	}
	return name, s.cluster.URL(name), nil
}

func (s *shared) drop(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return nil // the tests are over
	}
	return s.execLocked(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

// stop ends the cluster, if there is one.
func (s *shared) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	if s.admin != nil {
		_ = s.admin.Close(ctx)
	}
	err := s.cluster.close(ctx)
	s.cluster, s.admin, s.err = nil, nil, errors.New("the tests are over")
	return err
}
