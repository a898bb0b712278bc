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
			"Every flag has an environment variable, NOTIFIER_ and the flag's name in capitals; the flag wins.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(a.serveCommand(), a.devCommand(), a.migrateCommand(), a.userCommand(), a.tokenCommand(), a.pushCommand(), a.watchCommand(), a.triggerCommand(), a.doctorCommand(), a.explainCommand(), a.versionCommand())
	return root, started
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
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
