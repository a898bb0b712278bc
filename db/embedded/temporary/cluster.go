package temporary

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/notifier/db/embedded"
)

// Cluster is a running cluster in a folder of its own.
type Cluster struct {
	*embedded.Server
	dir string
	dog *Watchdog
}

// Start starts a cluster. Its folder and where its binaries come from are for this
// package to say: NOTIFIER_POSTGRES_BIN, the machine, or a download.
func Start(ctx context.Context, c embedded.Config) (*Cluster, error) {
	return StartPrepared(ctx, c, func(string) error { return nil })
}

// StartPrepared is Start in a folder that something is put into first.
func StartPrepared(ctx context.Context, c embedded.Config, prepare func(dir string) error) (*Cluster, error) {
	reapOnce()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make folder of test cluster: %w", err)
	}
	t := &Cluster{dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil { // as root the cluster runs as another user
		return nil, errors.Join(err, t.Close(ctx))
	}
	if t.dog, err = Watch(endCluster, dir); err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	if err := prepare(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare test cluster: %w", err), t.Close(ctx))
	}
	c.Dir, c.BinDir = dir, os.Getenv("NOTIFIER_POSTGRES_BIN")
	c.Download.Allowed, c.Progress = true, os.Stderr
	if t.Server, err = embedded.Start(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("start test cluster: %w", err), t.Close(context.WithoutCancel(ctx)))
	}
	return t, nil
}

// Close stops the cluster and removes its folder.
func (t *Cluster) Close(ctx context.Context) error {
	var err error
	if t.Server != nil {
		err = t.Server.Stop(ctx)
	}
	err = errors.Join(err, os.RemoveAll(t.dir))
	t.dog.Release()
	return err
}

// Settings are those of a server that tests share: many connections, and a log
// that is silent about the errors which tests provoke by the thousand.
func Settings() map[string]string {
	return map[string]string{
		"max_connections":           "300",
		"max_prepared_transactions": "10",
		"shared_buffers":            "128MB",
		"log_min_messages":          "fatal",
		"log_checkpoints":           "off",
		"max_wal_size":              "4GB",
		"autovacuum_naptime":        "10s",
	}
}
