package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/notifier/db/embedded"
)

// guarded is a cluster in a temporary folder that does not outlive this process.
type guarded struct {
	*embedded.Server
	dir string
	dog *watchdog
}

// startGuarded starts a cluster; what is missing in c is filled for tests.
func startGuarded(ctx context.Context, c embedded.Config) (*guarded, error) {
	return startPrepared(ctx, c, func(string) error { return nil })
}

// startPrepared is startGuarded in a folder that something is put into first.
func startPrepared(ctx context.Context, c embedded.Config, prepare func(dir string) error) (*guarded, error) {
	reapOnce()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make folder of test cluster: %w", err)
	}
	g := &guarded{dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil { // as root the cluster runs as another user
		return nil, errors.Join(err, g.close(ctx))
	}
	if g.dog, err = newWatchdog(dir); err != nil {
		return nil, errors.Join(err, g.close(ctx))
	}
	if err := prepare(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare test cluster: %w", err), g.close(ctx))
	}
	c.Dir, c.BinDir = dir, os.Getenv("NOTIFIER_POSTGRES_BIN")
	c.Download.Allowed, c.Progress = true, os.Stderr
	if g.Server, err = embedded.Start(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("start test cluster: %w", err), g.close(context.WithoutCancel(ctx)))
	}
	return g, nil
}

// close stops the cluster and removes its folder.
func (g *guarded) close(ctx context.Context) error {
	var err error
	if g.Server != nil {
		err = g.Server.Stop(ctx)
	}
	err = errors.Join(err, os.RemoveAll(g.dir))
	if g.dog != nil {
		g.dog.release()
	}
	return err
}
