package testcontainers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/migrations"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Suite is what the tests of an application have in common. Nothing is started
// before the first of them needs it. Its methods may be called from any goroutine.
type Suite struct {
	config config
	secret []byte // that tokens are signed with
	issuer *auth.Issuer

	once     sync.Once
	template string // on the shared server
	err      error  // why there is none; every later test gets it too
}

// New returns a suite, most often to be kept in a variable of the test's package.
// Each has a template of its own.
func New(options ...Option) *Suite {
	s := &Suite{config: newConfig(options), secret: []byte(rand.Text() + rand.Text())}
	var err error
	if s.issuer, err = auth.NewIssuer(auth.Config{Secret: s.secret}); err != nil {
		panic(err) // nothing that a caller gives has to do with it
	}
	return s
}

// StartOption changes what one test gets, or by [Always] each of a suite.
type StartOption func(*startOptions)

type startOptions struct {
	own      bool
	settings map[string]string // of notifier, by their variables
}

// with is these options and more.
func (o startOptions) with(more []StartOption) startOptions {
	o.settings = maps.Clone(o.settings)
	for _, option := range more {
		option(&o)
	}
	return o
}

// OwnPostgres gives the test a server of its own, which it may crash: a container or
// an embedded cluster, also where a server is given by its URL. It takes seconds.
func OwnPostgres() StartOption { return func(o *startOptions) { o.own = true } }

// Start gives a test a database of its own with one notifier in front of it. Both go
// with the test.
func (s *Suite) Start(t testing.TB, options ...StartOption) *Environment {
	t.Helper()
	o := s.config.start.with(options)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout+operationTimeout)
	defer cancel()
	h, template, err := s.source(ctx, o.own)
	if h != nil && o.own {
		t.Cleanup(func() { atEnd(t, "stop Postgres", func(context.Context) error { return h.stop() }) })
	}
	if err != nil {
		t.Fatal(err)
	}
	name, url, err := h.databases.Clone(ctx, template, t.Name())
	if err == nil && o.own {
		err = h.databases.Settle(ctx) // it may be crashed
	}
	if err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		atEnd(t, "drop the database", func(ctx context.Context) error {
			if o.own {
				return nil // it goes with its server, which may have crashed
			}
			return h.databases.Drop(ctx, name)
		})
	})
	e := &Environment{t: t, suite: s, options: o, postgres: h, url: url}
	if e.pool, err = pgxpool.New(context.WithoutCancel(ctx), url); err != nil { // it outlives the test's context
		t.Fatalf("open a pool: %v", err)
	}
	t.Cleanup(e.pool.Close)
	e.Instance = e.Add(t)
	return e
}

// source returns a server and the template on it.
func (s *Suite) source(ctx context.Context, own bool) (*host, string, error) {
	if own {
		which := s.config.server
		which.url = ""
		which.settings = maps.Clone(which.settings)
		which.settings["synchronous_commit"] = "on" // a crash must lose nothing that was committed
		h, err := newHost(ctx, which)
		if err != nil {
			return nil, "", fmt.Errorf("start Postgres: %w", err)
		}
		template, err := h.databases.Template(ctx, s.fill)
		return h, template, err
	}
	h, err := process.host(ctx, s.config.server)
	if err != nil {
		return nil, "", fmt.Errorf("start Postgres: %w", err)
	}
	s.once.Do(func() { s.template, s.err = h.databases.Template(ctx, s.fill) })
	return h, s.template, s.err
}

// fill makes a database what each test begins with.
func (s *Suite) fill(ctx context.Context, url string) error {
	if err := migrations.Up(ctx, url, slog.New(slog.DiscardHandler)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, fill := range s.config.schema {
		if err := fill(ctx, url); err != nil {
			return fmt.Errorf("the application's schema: %w", err)
		}
	}
	return nil
}

// atEnd runs what a test leaves to be done; the test's own context has ended then.
func atEnd(t testing.TB, what string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	if err := do(ctx); err != nil && !errors.Is(err, errOver) {
		t.Errorf("%s: %v", what, err)
	}
}
