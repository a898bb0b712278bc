package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/fixture"
)

// operationTimeout bounds what this package does with servers and databases; on a
// busy machine it waits for its turn.
const operationTimeout = time.Minute

// startTimeout bounds the start of a server: an image or binaries may have to be
// fetched.
const startTimeout = 5 * time.Minute

// process is what the tests of one binary share. A package variable is the only place
// all tests of a binary can reach; Main empties it.
var process = servers{hosts: map[string]*host{}}

// servers are the Postgres servers that tests share, each started by the first.
type servers struct {
	mu    sync.Mutex
	hosts map[string]*host
	over  bool
}

// host is a server, and the databases made on it.
type host struct {
	once sync.Once
	postgres
	databases *fixture.Databases
	shared    bool  // with other tests
	err       error // why there is no server; every later test gets it too
}

// errOver is why nothing is started any more.
var errOver = errors.New("the tests are over")

// Main runs the tests of a binary and stops what this package started for them. It
// does not return. Without it, what was started ends with the process all the same, only
// less in order: databases on a given server are dropped by the next run.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is [Main] for who has more to do before the process exits with the code.
func Run(m *testing.M) (code int) {
	code = m.Run()
	if err := process.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testcontainers: stop what was started for the tests:", err)
		code = max(code, 1)
	}
	return code
}

// host returns the running server for what suites have in common.
func (s *servers) host(ctx context.Context, which server) (*host, error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return nil, errOver
	}
	h := s.hosts[which.key()]
	if h == nil {
		h = &host{shared: true}
		s.hosts[which.key()] = h
	}
	s.mu.Unlock()
	h.once.Do(func() { h.start(ctx, which) })
	return h, h.err
}

// newHost starts a server that is not shared.
func newHost(ctx context.Context, which server) (*host, error) {
	h := &host{}
	h.start(ctx, which)
	return h, h.err
}

func (h *host) start(ctx context.Context, which server) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("no Postgres in time"))
	defer cancel()
	if h.postgres, h.err = startPostgres(ctx, which); h.err == nil {
		h.databases = fixture.NewDatabases(h.URL())
	}
}

// stop ends the server and all databases of ours.
func (h *host) stop() error {
	if h.databases == nil {
		return nil // it never started
	}
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	if h.Private() {
		return errors.Join(h.databases.Abandon(ctx), h.Close(ctx))
	}
	return errors.Join(h.databases.Close(ctx), h.Close(ctx))
}

func (s *servers) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	var own []*host
	var err error
	for _, h := range s.hosts {
		h.once.Do(func() { h.err = errOver }) // and wait for one that is starting
		if h.err == nil && h.Private() {
			own = append(own, h)
			continue
		}
		err = errors.Join(err, h.stop())
	}
	for _, h := range own { // last, since one may have been given to somebody by its URL
		err = errors.Join(err, h.stop())
	}
	clear(s.hosts)
	return err
}
