package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completer returns what a shell offers for a setting's value. The kind that
// --help shows says it all, so that no setting goes without: a|b is one of
// these, a,b a list of them, a file and a folder are what they are. What else
// there is can't be guessed, and a list of the files here would be no help.
func completer(kind string) cobra.CompletionFunc {
	switch {
	case kind == "bool":
		return cobra.FixedCompletions([]cobra.Completion{"true", "false"}, cobra.ShellCompDirectiveNoFileComp)
	case kind == "file":
		return offer(cobra.ShellCompDirectiveDefault)
	case kind == "folder":
		return offer(cobra.ShellCompDirectiveFilterDirs)
	case strings.Contains(kind, "|"):
		return cobra.FixedCompletions(strings.Split(kind, "|"), cobra.ShellCompDirectiveNoFileComp)
	case strings.Contains(kind, ","):
		return listCompleter(strings.Split(kind, ","))
	}
	return cobra.NoFileCompletions
}

func offer(directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return cobra.FixedCompletions(nil, directive)
}

// listCompleter goes on with a list: what is in it already is not offered again.
func listCompleter(choices []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		begun := typed[:strings.LastIndexByte(typed, ',')+1]
		var offered []cobra.Completion
		for _, choice := range choices {
			if !slices.Contains(strings.Split(begun, ","), choice) {
				offered = append(offered, begun+choice)
			}
		}
		return offered, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completionCommand prints what a shell needs to complete command lines. It
// takes the place of cobra's own, which has a command for each shell.
func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print a script that has a shell complete command lines",
		Long: "completion prints a script by which the shell completes commands, flags, and those values that are known\n" +
			"beforehand, such as roles and log levels. bash needs its package bash-completion.",
		Example: "  notifier completion bash > ~/.local/share/bash-completion/completions/notifier\n" +
			"  notifier completion zsh > ~/.zsh/completions/_notifier       # a folder of $fpath\n" +
			"  notifier completion fish > ~/.config/fish/completions/notifier.fish",
		ValidArgs: shells,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(command *cobra.Command, args []string) error {
			return printCompletion(command.Root(), args[0], a.out)
		},
	}
}

func printCompletion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(w)
	}
	return fmt.Errorf("no completion for %q", shell)
}
