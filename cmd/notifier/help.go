package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// helpWidth is how long lines of --help are where there is no terminal to ask.
const helpWidth = 110

// setHelp has every command explain itself in the same way: what it does, how
// it is called, lines that work, and its settings under their headings.
func (a *app) setHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Short = "Explain a command, or a topic"
		help.Long = "help explains a command, as its flag --help does, or one of the topics that belong to no command."
		help.Example = "  notifier help serve\n  notifier help protocols"
	}
	root.SetUsageFunc(func(command *cobra.Command) error {
		return writeUsage(command.OutOrStdout(), command, a.width())
	})
}

// width is that of the terminal, within what can be read.
func (a *app) width() int {
	columns, _, err := term.GetSize(int(a.out.Fd()))
	if err != nil {
		return helpWidth
	}
	return min(max(columns, 60), helpWidth)
}

func writeUsage(w io.Writer, command *cobra.Command, width int) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if command.Runnable() && !isParent(command) {
		fmt.Fprintf(&b, "  %s\n", command.UseLine())
	} else {
		fmt.Fprintf(&b, "  %s COMMAND\n", command.CommandPath())
	}
	if command.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", command.Example)
	}
	listCommands(&b, "Commands", command.Commands(), (*cobra.Command).IsAvailableCommand)
	listCommands(&b, "Topics (notifier help TOPIC)", command.Commands(), isTopic)
	for _, section := range sections(command) {
		fmt.Fprintf(&b, "\n%s:\n%s", section.heading, section.flags.FlagUsagesWrapped(width))
	}
	if isParent(command) {
		fmt.Fprintf(&b, "\n'%s COMMAND --help' tells more about a command.\n", command.CommandPath())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// isParent reports whether a command is there for its sub-commands alone.
func isParent(command *cobra.Command) bool {
	return slices.ContainsFunc(command.Commands(), (*cobra.Command).IsAvailableCommand)
}

// isTopic reports whether it is no command at all, but a page of help.
func isTopic(command *cobra.Command) bool { return command.IsAdditionalHelpTopicCommand() }

func listCommands(b *strings.Builder, heading string, all []*cobra.Command, listed func(*cobra.Command) bool) {
	for _, command := range all {
		if !listed(command) {
			continue
		}
		if heading != "" {
			fmt.Fprintf(b, "\n%s:\n", heading)
			heading = ""
		}
		fmt.Fprintf(b, "  %-12s%s\n", command.Name(), command.Short)
	}
}

// helpHeading is that of --help itself, which is no setting.
const helpHeading = "Help"

// section is the flags under one heading.
type section struct {
	heading string
	flags   *pflag.FlagSet
}

// sections returns a command's flags as they are shown, in the order in which
// they were defined; --help, which is no setting, comes last.
func sections(command *cobra.Command) []section {
	command.InitDefaultHelpFlag()
	var list, last []section
	command.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		set, ok := flag.Value.(*setting)
		if !ok {
			last = addTo(last, helpHeading, flag)
			return
		}
		heading := set.heading
		if heading == "" {
			heading = "Flags"
		}
		list = addTo(list, heading, flag)
	})
	return append(list, last...)
}

// addTo adds a flag under its heading, also if others came in between.
func addTo(list []section, heading string, flag *pflag.Flag) []section {
	i := slices.IndexFunc(list, func(s section) bool { return s.heading == heading })
	if i < 0 {
		flags := pflag.NewFlagSet(heading, pflag.ContinueOnError)
		flags.SortFlags = false
		i, list = len(list), append(list, section{heading, flags})
	}
	list[i].flags.AddFlag(flag)
	return list
}
