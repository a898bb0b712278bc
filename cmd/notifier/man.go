package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long: "man prints a manual page with all commands, settings and topics, for man to show or a package to install.\n" +
			"It is made from what --help says.",
		Example: "  notifier man | man -l -\n" +
			"  notifier man > notifier.1",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(command *cobra.Command, _ []string) error {
			return writeManual(a.out, command.Root())
		},
	}
}

// writeManual prints one page for the whole tree: whoever looks for a setting
// finds it by searching, without knowing which command has it.
func writeManual(w io.Writer, root *cobra.Command) error {
	p := &manual{}
	p.macro(".TH NOTIFIER 1 \"\" \"notifier %s\" \"notifier\"", roff(currentVersion()))
	p.macro(".SH NAME")
	p.text("notifier - " + strings.ToLower(root.Short[:1]) + root.Short[1:])
	p.macro(".SH SYNOPSIS")
	p.macro(".B notifier\n.I COMMAND\n.RI [ flags ]")
	p.macro(".SH DESCRIPTION")
	p.prose(root.Long)
	p.example(root.Example)
	p.macro(".SH COMMANDS")
	p.commands(root)
	for _, topic := range root.Commands() {
		if isTopic(topic) {
			p.macro(".SH %s", roff(strings.ToUpper(topic.Short)))
			p.prose(topic.Long)
		}
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// manual is a page in the making, in roff with the macros of man(7).
type manual struct{ strings.Builder }

// commands describes what is below a command.
func (p *manual) commands(parent *cobra.Command) {
	for _, command := range parent.Commands() {
		if !command.IsAvailableCommand() {
			continue
		}
		p.macro(".SS %s", roff(strings.TrimSuffix(command.UseLine(), " [flags]")))
		if p.prose(command.Short + "."); command.Long != "" {
			p.prose(command.Long)
		}
		for _, section := range sections(command) {
			p.flags(section)
		}
		p.example(command.Example)
		p.commands(command)
	}
}

func (p *manual) flags(s section) {
	if s.heading == helpHeading {
		return // the same everywhere
	}
	p.macro(".PP\n.I %s", roff(s.heading))
	s.flags.VisitAll(func(flag *pflag.Flag) {
		kind, usage := pflag.UnquoteUsage(flag)
		p.macro(".TP\n\\fB%s\\fR \\fI%s\\fR", roff("--"+flag.Name), roff(kind))
		if flag.DefValue != "" && flag.DefValue != "false" {
			usage += " (default " + flag.DefValue + ")"
		}
		p.text(usage)
	})
}

// prose prints paragraphs; lines that are indented stay as they are.
func (p *manual) prose(text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			p.verbatim(paragraph)
			continue
		}
		p.macro(".PP")
		p.text(paragraph)
	}
}

func (p *manual) example(text string) {
	if text == "" {
		return
	}
	p.macro(".PP\nExamples:")
	p.verbatim(text)
}

func (p *manual) verbatim(text string) {
	p.macro(".PP\n.EX")
	p.text(text)
	p.macro(".EE")
}

// macro prints lines of roff.
func (p *manual) macro(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// text prints lines of text; none of them is taken for a macro.
func (p *manual) text(text string) {
	for line := range strings.Lines(text) {
		line = roff(strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) {
			line = `\&` + line
		}
		p.macro("%s", line)
	}
}

// roff has a text stand for itself: what is typed on a keyboard and not what a
// printer would set for it, and the names of variables in one piece.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`, "["+envPrefix, `\%[`+envPrefix).Replace(text)
}
