package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/migrations"
	"github.com/spf13/cobra"
)

func (a *app) migrateCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up, one step down, or show it",
		Example: "  export NOTIFIER_DATABASE_URL=postgres://notifier@localhost/app\n" +
			"  notifier migrate up\n" +
			"  notifier migrate status",
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
		Args: cobra.NoArgs,
	}
	command.AddCommand(
		a.migrateStep("up", "Apply every migration that the database lacks", migrations.Up),
		a.migrateStep("down", "Take the newest migration back; taking back the first deletes all events", migrations.Down),
		a.migrateStatus(),
	)
	return command
}

type databaseConfig struct{ url, listenURL string }

func (c *databaseConfig) define(s *settings) {
	s.Section("Database")
	define(s, "database-url", "url", "", "the database, postgres://user:password@host/database", &c.url, parseDatabaseURL)
	define(s, "listen-database-url", "url", "", "a direct way to it, if the first leads through a pooler", &c.listenURL, parseDatabaseURL)
}

// problems tells what is missing.
func (c *databaseConfig) problems() []error {
	if c.url == "" && c.listenURL == "" {
		return []error{named("database-url", "is needed")}
	}
	return nil
}

// apply says how a server reaches the database.
func (c *databaseConfig) apply(to *db.Config) {
	to.URL, to.ListenURL = cmp.Or(c.url, c.listenURL), c.listenURL
}

// direct returns the URL that reaches the server itself: session locks do not
// pass a transaction pooler.
func (c *databaseConfig) direct() string {
	if c.listenURL != "" {
		return c.listenURL
	}
	return c.url
}

type migrateConfig struct {
	logConfig
	databaseConfig
}

func (c *migrateConfig) settings(command *cobra.Command) *settings {
	s := newSettings(command)
	c.databaseConfig.define(s)
	c.logConfig.define(s)
	s.check = c.databaseConfig.problems
	return s
}

func (a *app) migrateStep(
	name, short string, step func(context.Context, string, *slog.Logger) error,
) *cobra.Command {
	command := &cobra.Command{Use: name, Short: short, Example: "  notifier migrate " + name, Args: cobra.NoArgs}
	var c migrateConfig
	s := c.settings(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return step(command.Context(), c.direct(), c.newLogger(a.err))
	}
	return command
}

func (a *app) migrateStatus() *cobra.Command {
	command := &cobra.Command{
		Use: "status", Short: "List the migrations, and when each was applied", Example: "  notifier migrate status", Args: cobra.NoArgs,
	}
	var c migrateConfig
	s := c.settings(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		list, err := migrations.Status(command.Context(), c.direct())
		if err != nil {
			return err
		}
		return a.printMigrations(list)
	}
	return command
}

func (a *app) printMigrations(list []migrations.Migration) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VERSION\tAPPLIED\tNAME")
	for _, m := range list {
		applied, name := "no", m.Name
		if m.Applied() {
			applied = m.AppliedAt.UTC().Format(time.DateTime + "Z")
		}
		if name == "" {
			name = "(of a newer notifier)"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\n", m.Version, applied, name)
	}
	return w.Flush()
}
