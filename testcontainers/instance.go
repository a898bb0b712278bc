package testcontainers

import (
	"context"
	"maps"
	"testing"

	"example.com/notifier/testcontainers/network"
)

// Instance is one notifier, in this process or in a container. It runs from the
// moment it is made until the test ends, unless it is stopped.
type Instance struct {
	Clients
	t           testing.TB
	environment *Environment
	database    *network.Proxy // between it and Postgres
	clients     *network.Proxy // between its clients and it
	running     runner         // nil: it is stopped
	settings    settings
}

// runner is a notifier that runs.
type runner interface {
	// stop ends it, in order or else as if it were killed, and waits for that.
	stop(ctx context.Context, inOrder bool) error
}

// Add starts one more instance on the database, with the settings that the test's
// others were started with, and more.
func (e *Environment) Add(t testing.TB, options ...StartOption) *Instance {
	t.Helper()
	o := e.options.with(options)
	if o.own != e.options.own {
		t.Fatal("add an instance: OwnPostgres is for the test's first")
	}
	i := &Instance{t: t, environment: e}
	i.Clients = Clients{instance: i}
	i.database = newProxy(t, e.url)
	c := e.suite.config
	i.settings = settings{database: i.database.URL(), secret: e.suite.secret, image: c.notifier, fence: c.fence, log: t, given: o.settings}
	if _, err := i.settings.tuning(); err != nil { // of a container, too, which would tell it only in its log
		t.Fatalf("start notifier: %v", err)
	}
	i.clients = newProxy(t, "http://127.0.0.1:1") // until it runs
	i.Start()
	t.Cleanup(func() {
		if i.running == nil {
			return
		}
		i.clients.Cut() // nobody is to be waited for
		i.database.Resume()
		atEnd(t, "stop notifier", func(ctx context.Context) error { return i.end(ctx, true) })
	})
	return i
}

func newProxy(t testing.TB, target string) *network.Proxy {
	t.Helper()
	p, err := network.NewProxy(target)
	if err != nil {
		t.Fatalf("stand between client and server: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// URL is where its clients connect to, http://127.0.0.1:PORT. It stays the same when
// the instance is started again.
func (i *Instance) URL() string { return i.clients.URL() }

// Database is the network between the instance and Postgres, to be cut or stalled.
func (i *Instance) Database() *network.Proxy { return i.database }

// Network is the network between the instance and all its clients.
func (i *Instance) Network() *network.Proxy { return i.clients }

// Start starts a stopped instance, and returns once it takes clients.
func (i *Instance) Start() {
	i.t.Helper()
	if i.running != nil {
		i.t.Fatal("start notifier: it runs")
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), operationTimeout)
	defer cancel()
	start := startHere
	if i.settings.image != "" {
		start = startImage
	}
	running, address, err := start(ctx, i.settings)
	if err != nil {
		i.t.Fatalf("start notifier: %v", err)
	}
	i.running = running
	if err := i.clients.Target("http://" + address); err != nil {
		i.t.Fatalf("lead clients to notifier: %v", err)
	}
}

// Stop stops the instance in order: clients are told to come again.
func (i *Instance) Stop() {
	i.t.Helper()
	i.halt(true)
}

// Kill stops it as a crash would: connections break, nothing is said.
func (i *Instance) Kill() {
	i.t.Helper()
	i.halt(false)
}

// Set changes a setting, see [Setting], from the next Start on.
func (i *Instance) Set(variable, value string) {
	i.t.Helper()
	changed := i.settings
	changed.given = maps.Clone(changed.given)
	changed.given[variable] = value
	if _, err := changed.tuning(); err != nil {
		i.t.Fatalf("set notifier: %v", err)
	}
	i.settings = changed
}

// Restart is Stop and Start.
func (i *Instance) Restart() {
	i.t.Helper()
	i.Stop()
	i.Start()
}

func (i *Instance) halt(inOrder bool) {
	i.t.Helper()
	if i.running == nil {
		i.t.Fatal("stop notifier: it does not run")
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), operationTimeout)
	defer cancel()
	if err := i.end(ctx, inOrder); err != nil {
		i.t.Fatalf("stop notifier: %v", err)
	}
}

// end stops it. One that is killed must not get a last word to anybody.
func (i *Instance) end(ctx context.Context, inOrder bool) error {
	if !inOrder {
		for _, p := range []*network.Proxy{i.clients, i.database} {
			p.Refuse()
			defer p.Accept()
			p.Cut()
		}
	}
	running := i.running
	i.running = nil
	return running.stop(ctx, inOrder)
}
