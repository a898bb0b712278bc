package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/migrations"
	"github.com/spf13/cobra"
)

type serveConfig struct {
	serverConfig
	databaseConfig
	migrate bool
}

func (a *app) serveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a server on a database",
		Long: "serve follows the log in a Postgres database and serves it to subscribers, until SIGTERM or SIGINT.\n\n" +
			"It needs --database-url, a schema brought up by 'notifier migrate up' (or --migrate), and a way to let people in:\n" +
			"a key to verify tokens with (--jwt-secret, --jwt-public-key, --jwks-url or --jwks-file), or a user with a password\n" +
			"('notifier user add'), or else --anonymous.",
		Example: "  export NOTIFIER_DATABASE_URL=postgres://notifier@localhost/app NOTIFIER_JWT_SECRET=$(openssl rand -hex 32)\n" +
			"  notifier serve --migrate\n" +
			"  notifier serve --addr 127.0.0.1:8080,tls://:8443 --tls-cert cert.pem --tls-key key.pem --admin-addr 127.0.0.1:9090",
		Args: cobra.NoArgs,
	}
	var c serveConfig
	s := newSettings(command)
	c.databaseConfig.define(s)
	defineSwitch(s, "migrate", "bring the schema up first", &c.migrate)
	s.Section("Tokens")
	c.Anonymous(s)
	c.tokens.define(s)
	c.serverConfig.define(s, serverDefaults{address: ":8080"})
	s.check = func() []error { return append(c.databaseConfig.problems(), c.serverConfig.problems()...) }
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		a.logger = c.newLogger(a.err)
		c.folder = defaultData(a.getenv, os.Geteuid())
		return serve(command.Context(), c, a.logger)
	}
	return command
}

// serve runs a server on a database that somebody else runs.
func serve(ctx context.Context, c serveConfig, logger *slog.Logger) error {
	c.databaseConfig.apply(&c.DB)
	if c.migrate {
		if err := migrations.Up(ctx, c.direct(), logger); err != nil {
			return err
		}
	}
	s, err := openServer(ctx, c.serverConfig, logger)
	if err != nil {
		return err
	}
	defer s.close()
	s.reloads = true
	return s.run(ctx, func() {})
}

// checkSchema refuses a schema that is older than this binary needs, and one
// that has left binaries of its age behind.
func checkSchema(ctx context.Context, database *db.DB) error {
	version, err := database.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if needed := migrations.Required(); version < needed {
		return fmt.Errorf("the database's schema has version %d, this notifier needs %d: "+
			"run 'notifier migrate up', or 'notifier serve --migrate'", version, needed)
	}
	return checkOldest(ctx, database)
}

// leftBehindError says that a schema is for newer servers.
type leftBehindError struct{ oldest, known int64 }

// Error says what to do.
func (e *leftBehindError) Error() string {
	return fmt.Sprintf("the database's schema is for newer servers: it needs one that knows version %d, "+
		"this notifier knows %d: install a newer notifier", e.oldest, e.known)
}

func checkOldest(ctx context.Context, database *db.DB) error {
	oldest, err := database.OldestServer(ctx)
	if err != nil {
		return err
	}
	if known := migrations.Required(); known < oldest {
		return &leftBehindError{oldest, known}
	}
	return nil
}

// schemaEvery is how often a running server asks whether the schema has left it
// behind.
const schemaEvery = 5 * time.Second

// watchSchema calls leave once a migration has left this binary behind: what it asks
// of the database may be gone by now, and its clients are better off elsewhere. That
// the question fails says nothing: the database may be down, or being restored.
func (s *server) watchSchema(ctx context.Context, leave func(error)) {
	tick := time.NewTicker(schemaEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		asking, cancel := context.WithTimeout(ctx, schemaEvery)
		err := checkOldest(asking, s.database)
		cancel()
		if behind, ok := errors.AsType[*leftBehindError](err); ok {
			leave(behind)
			return
		}
	}
}

var errStopped = errors.New("the server stops")
