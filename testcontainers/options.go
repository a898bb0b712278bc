package testcontainers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"time"

	"example.com/notifier/db/embedded/temporary"
	"github.com/jackc/pgx/v5"
)

// Option changes how a [Suite] runs.
type Option func(*config)

// fill puts something into a database.
type fill func(ctx context.Context, url string) error

// config is what a suite is made from. Suites of the same server share a Postgres.
type config struct {
	server
	schema []fill
	start  startOptions // of each test
	// notifier is the image of the instances, "": they run in this process.
	notifier string
	fence    string
	patience time.Duration
}

// server says which Postgres.
type server struct {
	url      string // "": one of our own
	image    string // "": any
	settings map[string]string
}

const (
	// urlVariable names a server to use, for all suites that don't say otherwise.
	urlVariable = "NOTIFIER_TEST_DATABASE_URL"
	// defaultImage is used where a Docker engine answers.
	defaultImage = "postgres:15-bookworm"
	// defaultFence is the type of the events that fence.
	defaultFence = "notifier-fence"
	// defaultPatience is far beyond what anything should take, since only a test that
	// fails meets it.
	defaultPatience = 10 * time.Second
)

func newConfig(options []Option) config {
	c := config{
		server:   server{url: os.Getenv(urlVariable), settings: temporary.Settings()},
		start:    startOptions{settings: map[string]string{}},
		fence:    defaultFence,
		patience: defaultPatience,
	}
	for _, option := range options {
		option(&c)
	}
	return c
}

// key tells servers apart.
func (s server) key() string { return fmt.Sprintf("%q %q %v", s.url, s.image, s.settings) }

// Schema has the template filled by a function, such as the application's
// migrations; the URL is that of a database with notifier's schema, as its owner.
// Several are run in their order.
func Schema(fill func(ctx context.Context, url string) error) Option {
	return func(c *config) { c.schema = append(c.schema, fill) }
}

// SQL is [Schema] by statements, which are one transaction.
func SQL(statements string) Option {
	return Schema(func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		_, err = conn.Exec(ctx, statements)
		return err
	})
}

// DatabaseURL has databases made on a server that runs already, by a role that may
// create databases and roles. By default NOTIFIER_TEST_DATABASE_URL says whether there is
// one; "" is none, whatever it says.
func DatabaseURL(url string) Option { return func(c *config) { c.url = url } }

// Image is the image of the container that Postgres runs in. Without this option it
// is postgres:15-bookworm if a Docker engine answers, and else no container.
func Image(name string) Option { return func(c *config) { c.image = name } }

// Always has each test of the suite begin with these options.
func Always(options ...StartOption) Option {
	return func(c *config) { c.start = c.start.with(options) }
}

// PostgresSettings sets server settings of Postgres, over those it has for tests. A
// server that is given by its URL keeps its own.
func PostgresSettings(settings map[string]string) Option {
	return func(c *config) { maps.Copy(c.settings, settings) }
}

// NotifierImage has instances run in containers of an image of notifier instead of
// in this process. They use the host's network, which Docker has on Linux.
func NotifierImage(name string) Option { return func(c *config) { c.notifier = name } }

// FenceType is the type of the events by which this package finds out that nothing
// else comes; they are addressed to the subscriber's user. By default it is
// notifier-fence. A policy of the application's own, notifier.may_read, must let a user
// read them (the dataset is null).
func FenceType(name string) Option { return func(c *config) { c.fence = name } }

// Patience is how long whatever must happen may take before the test fails;
// 10 s by default.
func Patience(d time.Duration) Option { return func(c *config) { c.patience = d } }
