package dbtest

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"example.com/notifier/db/embedded"
	"example.com/notifier/db/embedded/temporary"
)

// Cluster is a private cluster with one migrated database, named notifier. A test may crash
// and restart it (embedded.Server.Crash, Restart); its URL stays the same.
type Cluster struct {
	*embedded.Server
	settings map[string]string
}

// Option changes how a private cluster runs.
type Option func(*clusterOptions)

type clusterOptions struct {
	config     embedded.Config
	unmigrated bool
}

// Durable keeps fsync and its like on: for tests of crashes of the machine, and for measurements.
func Durable() Option { return func(o *clusterOptions) { o.config.Durable = true } }

// Settings sets server settings, over those every test cluster has.
func Settings(settings map[string]string) Option {
	return func(o *clusterOptions) { maps.Copy(o.config.Settings, settings) }
}

// Unmigrated leaves the database without notifier's schema.
func Unmigrated() Option { return func(o *clusterOptions) { o.unmigrated = true } }

// NewCluster starts a private cluster, which ends with the test.
func NewCluster(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	o := clusterOptions{config: embedded.Config{Settings: temporary.Settings()}}
	o.config.Settings["log_min_messages"] = "warning" // the log of a private cluster may be the point
	for _, opt := range opts {
		opt(&o)
	}
	g, err := temporary.Start(t.Context(), o.config)
	if err != nil {
		t.Fatalf("start private cluster: %v", err)
	}
	t.Cleanup(func() { closeCluster(t, g) })
	if !o.unmigrated {
		if err := migrate(t.Context(), g.URL("")); err != nil {
			t.Fatalf("migrate private cluster: %v", err)
		}
	}
	return &Cluster{Server: g.Server, settings: o.config.Settings}
}

func closeCluster(t testing.TB, g *temporary.Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Errorf("close private cluster: %v", err)
	}
}

// Database makes another empty database in the cluster and returns its URL. It goes with the cluster.
func (c *Cluster) Database(t testing.TB, name string) string {
	t.Helper()
	if _, err := Connect(t, c.URL("")).Exec(t.Context(), fmt.Sprintf("CREATE DATABASE %q", name)); err != nil {
		t.Fatalf("create database %q: %v", name, err)
	}
	return c.URL(name)
}
