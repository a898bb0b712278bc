package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// commands builds the tree of commands. The flag it returns is set once a
// command line was understood: errors before that are the caller's.
func (a *app) commands() (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "notifier",
		Short: "Committed Postgres rows as live WebSocket messages",
		Long: "notifier turns committed Postgres rows into live WebSocket messages.\n\n" +
			"Every flag has an environment variable, NOTIFIER_ and the flag's name in capitals; the flag wins.\n\n" +
			"Exit codes: 0 done; 1 it could not be done, or the configuration forbids it; 2 the command line makes no\n" +
			"sense; 3 (push) a line of the input is no event.",
		Example: "  notifier dev                     # try it: a server with a Postgres of its own\n" +
			"  notifier help protocols          # how clients speak to it",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(a.serveCommand(), a.devCommand(), a.migrateCommand(), a.userCommand(), a.tokenCommand(), a.pushCommand(), a.watchCommand(),
		a.triggerCommand(), a.doctorCommand(), a.explainCommand(), a.healthCommand(), a.versionCommand(), a.completionCommand(), a.manCommand())
	root.AddCommand(topics()...)
	a.setHelp(root)
	return root, started
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  notifier version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.out, currentVersion())
			return err
		},
	}
}

// currentVersion falls back on what the Go command knows, for a binary that
// was not built by the Makefile.
func currentVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "unknown")
	}
	return cmp.Or(version, info.Main.Version, "unknown")
}
