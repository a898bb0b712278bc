package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/notifier/db/embedded"
	"example.com/notifier/db/embedded/temporary"
)

// postgres is a server, wherever it runs.
type postgres interface {
	// URL is that of a database through which others can be made.
	URL() string
	// Private says that the server and all in it end with Close.
	Private() bool
	// Crash stops it as a crash would; Restart brings it back, with the same URL.
	Crash(ctx context.Context) error
	Restart(ctx context.Context) error
	Close(ctx context.Context) error
}

// startPostgres takes the given server, or a container, or binaries of the machine.
// Where no image was asked for, one that can't be had is no reason to fail.
func startPostgres(ctx context.Context, which server) (postgres, error) {
	if which.url != "" {
		return given{which.url}, nil
	}
	image := which.image
	if image == "" {
		image = defaultImage
	}
	problem := engine(ctx)
	if problem == nil {
		var c *container
		if c, problem = startContainer(ctx, image, which.settings); problem == nil {
			return c, nil
		}
		problem = fmt.Errorf("start a container of %s: %w", image, problem)
	}
	if which.image != "" {
		return nil, problem
	}
	if !errors.Is(problem, errNoEngine) {
		fmt.Fprintln(os.Stderr, "testcontainers: running Postgres without a container:", problem)
	}
	// As in the container. A role called notifier would have its tables made in the schema
	// of its name, which is ours.
	const name = "postgres"
	cluster, err := temporary.Start(ctx, embedded.Config{User: name, Password: name, Database: name, Settings: which.settings})
	if err != nil {
		return nil, err
	}
	return binaries{cluster}, nil
}

// errUnowned is why a server of somebody else's is not harmed.
var errUnowned = errors.New("this Postgres was given by its URL: start the test with OwnPostgres")

// given is a server that runs already.
type given struct{ url string }

func (g given) URL() string                 { return g.url }
func (given) Private() bool                 { return false }
func (given) Crash(context.Context) error   { return errUnowned }
func (given) Restart(context.Context) error { return errUnowned }
func (given) Close(context.Context) error   { return nil }

// binaries is a cluster of binaries of the machine, or of downloaded ones.
type binaries struct{ *temporary.Cluster }

func (b binaries) URL() string                 { return b.Cluster.URL("postgres") }
func (binaries) Private() bool                 { return true }
func (b binaries) Crash(context.Context) error { return b.Cluster.Crash() }
