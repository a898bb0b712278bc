package dbtest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"example.com/notifier/db/embedded"
	"example.com/notifier/db/embedded/temporary"
	"example.com/notifier/db/fixture"
	"example.com/notifier/migrations"
)

// operationTimeout bounds each statement this package runs by itself; on a busy machine
// cloning waits for its turn.
const operationTimeout = time.Minute

// process is what the tests of one binary share. A package variable is the only place all
// tests of a binary can reach; Main empties it.
var process shared

// shared is a cluster started by the first test that needs it.
type shared struct {
	mu        sync.Mutex
	cluster   *temporary.Cluster
	databases *fixture.Databases
	err       error  // why there is no cluster; every later test gets it too
	template  string // the migrated database that New clones; "": none yet
}

// startLocked starts the cluster unless it runs.
func (s *shared) startLocked(ctx context.Context) error {
	if s.cluster != nil || s.err != nil {
		return s.err
	}
	if s.cluster, s.err = temporary.Start(ctx, embedded.Config{Settings: temporary.Settings()}); s.err == nil {
		s.databases = fixture.NewDatabases(s.cluster.URL("postgres"))
	}
	return s.err
}

// source returns what a database is to be cloned from.
func (s *shared) source(ctx context.Context, migrated bool) (*fixture.Databases, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startLocked(ctx); err != nil {
		return nil, "", err
	}
	if !migrated {
		return s.databases, "template0", nil
	}
	if s.template == "" {
		s.template, s.err = s.databases.Template(ctx, migrate)
	}
	return s.databases, s.template, s.err
}

// migrate brings a database to the newest schema.
func migrate(ctx context.Context, url string) error {
	return migrations.Up(ctx, url, slog.New(slog.DiscardHandler))
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
	err := errors.Join(s.databases.Abandon(ctx), s.cluster.Close(ctx))
	s.cluster, s.err = nil, errors.New("the tests are over")
	return err
}
