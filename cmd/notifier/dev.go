package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"example.com/notifier/db/demo"
	"example.com/notifier/db/embedded"
	"example.com/notifier/migrations"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	// devPort is where dev's Postgres listens, if it can: psql commands in a
	// shell's history stay valid.
	devPort = 54329
	// stopTimeout bounds the time Postgres may take to shut down; then it is
	// stopped at once.
	stopTimeout = 30 * time.Second
	// devRestarts is how often dev brings its Postgres back before it gives up.
	devRestarts = 5
)

type devConfig struct {
	serverConfig
	data       string
	binaries   string
	port       int
	repository string
	activity   time.Duration // from one thing in the demo to the next; 0: nothing happens
}

func (a *app) devCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "dev",
		Short: "Try notifier: a server with a Postgres of its own and a demo application",
		Long: "dev runs everything needed to try notifier: a private Postgres whose data are kept, the schema, a demo application\n" +
			"whose tables are watched, and a server on loopback that lets everybody in. It prints lines to try, for every\n" +
			"protocol, with tokens of the demo's users. The secret that these are signed with is kept beside the data.",
		Example: "  notifier dev\n" +
			"  notifier dev --activity 5/s\n" +
			"  notifier dev --addr 127.0.0.1:8080,tls://127.0.0.1:8443 --tls-self-signed",
		Args: cobra.NoArgs,
	}
	var c devConfig
	s := newSettings(command)
	s.Section("Postgres")
	define(s, "data", "folder", defaultData(a.getenv, os.Geteuid()), "where Postgres keeps its data", &c.data, func(text string) (string, error) {
		if text == "" {
			return "", errEmpty
		}
		return text, nil
	})
	define(s, "postgres-bin", "folder", "", "Postgres' initdb and postgres; found, or downloaded, if not given", &c.binaries, parseText)
	define(s, "postgres-port", "port", strconv.Itoa(devPort), "Postgres' port on 127.0.0.1; if it is taken, any free one", &c.port, parsePort)
	define(s, "postgres-repository", "url", "", "Maven repository to download Postgres from, if it is not Maven Central", &c.repository, parseText)
	s.Section("Demo")
	define(s, "activity", "rate", "off", "how often something happens in the demo's tables: 5/s, 2/m, off", &c.activity, parseRate)
	c.serverConfig.define(s, serverDefaults{address: "127.0.0.1:8080", sysadmTypes: "*"})
	s.check = c.serverConfig.problems
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		a.logger = c.newLogger(a.err)
		return a.dev(command.Context(), c)
	}
	return command
}

// defaultData is a folder of the user, not of the current folder: root's
// Postgres runs as another user, who may not look into every place. Empty, if
// there is no place to think of.
func defaultData(getenv func(string) string, uid int) string {
	if uid == 0 {
		return "/var/lib/notifier"
	}
	if data := getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "notifier")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "notifier")
}

func (a *app) dev(ctx context.Context, c devConfig) (err error) {
	postgres, err := startPostgres(ctx, c, a.err, a.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPostgres(ctx, postgres)) }()
	c.DB.URL = postgres.URL("")
	if err := migrations.Up(ctx, c.DB.URL, a.logger); err != nil {
		return err
	}
	if err := demo.Install(ctx, c.DB.URL); err != nil {
		return err
	}
	c.HTTP.Anonymous, c.folder = true, c.data
	secretFile := filepath.Join(postgres.Dir(), "jwt-secret")
	if c.tokens.secret, err = keptSecret(secretFile); err != nil {
		return err
	}
	s, err := openServer(ctx, c.serverConfig, a.logger)
	if err != nil {
		return err
	}
	defer s.close()
	users, err := admitDemoUsers(ctx, s.database, c.tokens)
	if err != nil {
		return err
	}
	hint := a.hint(s, postgres, users, secretFile)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return keepPostgres(ctx, postgres, a.logger) })          // ends with ctx, or gives up
	group.Go(func() error { return s.run(ctx, func() { fmt.Fprint(a.out, hint) }) }) // ends with ctx, or fails
	if c.activity > 0 {
		activity := demo.Activity{URL: c.DB.URL, Every: c.activity, Logger: a.logger}
		group.Go(func() error { return activity.Run(ctx) }) // ends with ctx
	}
	return group.Wait()
}

// startPostgres starts the cluster on the port asked for, or on any free one if
// another program has that.
func startPostgres(ctx context.Context, c devConfig, progress io.Writer, logger *slog.Logger) (*embedded.Server, error) {
	config := embedded.Config{
		Dir:      c.data,
		BinDir:   c.binaries,
		Port:     c.port,
		Durable:  true,
		Download: embedded.Download{Allowed: true, Repository: c.repository},
		Progress: progress,
		Logger:   logger,
	}
	server, err := embedded.Start(ctx, config)
	if err == nil || errors.Is(err, embedded.ErrInUse) || ctx.Err() != nil || !portTaken(c.port) {
		return server, err
	}
	logger.Warn("the port for Postgres is taken, choosing another", "port", c.port)
	config.Port = 0
	return embedded.Start(ctx, config)
}

// portTaken asks by trying. A port of our own killed server does not count:
// Start has ended that by now.
func portTaken(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return true
	}
	l.Close()
	return false
}

func stopPostgres(ctx context.Context, postgres *embedded.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return postgres.Stop(ctx)
}

// keepPostgres starts Postgres again when it ends by itself. The feed and the
// pool reconnect on their own.
func keepPostgres(ctx context.Context, postgres *embedded.Server, logger *slog.Logger) error {
	for range devRestarts {
		select {
		case <-ctx.Done():
			return nil
		case <-postgres.Done():
		}
		if ctx.Err() != nil {
			return nil
		}
		logger.Warn("postgres ended by itself, starting it again", "log", postgres.LogFile())
		if err := postgres.Restart(ctx); err != nil {
			return fmt.Errorf("start postgres again: %w", err)
		}
	}
	return fmt.Errorf("postgres ended by itself %d times; its log is %s", devRestarts+1, postgres.LogFile())
}
