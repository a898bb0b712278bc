package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/notifier/cmd/notifier/tuning"
	"example.com/notifier/db"
	"github.com/spf13/cobra"
)

func (a *app) triggerCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "trigger EVENT_TYPE --table TABLE",
		Short: "Print the migration that has a table watched",
		Long: "trigger prints, as a goose migration, the statements by which notifier.watch_table would have the changes of a\n" +
			"table published, and for the way down those that end it; for those who keep such things in their own repository.\n" +
			"It asks the database, which must have notifier's schema and the table, as a role that may own triggers there,\n" +
			"and changes nothing. Where a value may be a column or an SQL expression, names outside pg_catalog need their schema.",
		Example: "  notifier trigger issueUpdate --table public.issues --dataset dataset_id --without search > 00042_watch_issues.sql\n" +
			"  notifier trigger notification --table app.members --recipient user_id --payload \"jsonb_build_object('role', role)\"",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	var c databaseConfig
	var w db.Watch
	s := newSettings(command)
	c.define(s)
	s.Section("Watch")
	define(s, "table", "name", "", "the table, with its schema", &w.Table, parseNotEmpty)
	define(s, "key", "columns", "", "the object's id: columns with commas, or an expression; if not given, the primary key", &w.Key, parseText)
	define(s, "dataset", "expression", "", "column or expression: the dataset whose readers are told", &w.Dataset, parseText)
	define(s, "recipient", "expression", "", "column or expression: the one user who is told", &w.Recipient, parseText)
	defineSwitch(s, "public", "events without dataset and recipient are for every user", &w.Public)
	define(s, "columns", "list", "", "columns of the payload", &w.Columns, tuning.List)
	define(s, "without", "list", "", "columns that the payload shall not have", &w.Without, tuning.List)
	define(s, "payload", "expression", "", "the payload; old.NAME is a column before an update", &w.Payload, parseText)
	defineSwitch(s, "original", "updates also tell what was before", &w.Original)
	define(s, "condition", "expression", "", "which rows are watched", &w.Condition, parseText)
	define(s, "changes", "list", "", "columns of which an update must change one", &w.Changes, tuning.List)
	define(s, "principal", "expression", "", "who caused it", &w.Principal, parseText)
	define(s, "actions", "create,update,destroy,truncate", "create,update,destroy", "what is told", &w.Actions, tuning.List)
	s.check = c.problems
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		w.EventType = args[0]
		up, down, err := db.WatchSQL(command.Context(), c.direct(), w)
		if err != nil {
			return err
		}
		return printMigration(a.out, up, down)
	}
	return command
}

var errAnnotation = errors.New("a name or an expression has a line that goose would take for an annotation of its own")

// printMigration writes statements as goose reads them. It refuses what goose
// would misread: a line of a text that looks like one of its annotations.
func printMigration(w io.Writer, up, down []string) error {
	var b strings.Builder
	for _, part := range []struct {
		name       string
		statements []string
	}{{"Up", up}, {"Down", down}} {
		fmt.Fprintf(&b, "-- +goose %s\n", part.name)
		for _, statement := range part.statements {
			for line := range strings.Lines(statement) {
				if strings.HasPrefix(strings.TrimSpace(line), "--") && strings.Contains(line, "+goose") {
					return errAnnotation
				}
			}
			fmt.Fprintf(&b, "-- +goose StatementBegin\n%s;\n-- +goose StatementEnd\n", statement)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
