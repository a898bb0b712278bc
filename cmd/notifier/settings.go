package main

import (
	"errors"
	"fmt"
	"strings"

	"example.com/notifier/cmd/notifier/tuning"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings are the flags of one command. Each is also an environment variable;
// the flag wins. Texts are parsed only by resolve, so that every problem can be
// told at once.
type settings struct {
	command *cobra.Command
	flags   *pflag.FlagSet
	all     []*setting
	heading string         // of what is defined next
	check   func() []error // what no single setting can know; may be nil
}

// setting is one of them. It is a [pflag.Value] that accepts any text.
type setting struct {
	name    string
	kind    string // what --help shows for the value, and a shell completes it by
	heading string // in --help; "": that of all flags
	text    string // as given, at first the default
	parse   func(text string) error
}

// newSettings adds settings to a command.
func newSettings(command *cobra.Command) *settings {
	flags := command.Flags()
	flags.SortFlags = false
	return &settings{command: command, flags: flags}
}

// Section puts what is defined from here on under a heading of its own in
// --help: a list of fifty flags teaches nobody.
func (s *settings) Section(heading string) { s.heading = heading }

// Add adds a setting. A switch may be given without a value.
func (s *settings) Add(name, kind, initial, usage string, parse func(text string) error) {
	set := &setting{name: name, kind: kind, heading: s.heading, text: initial, parse: parse}
	s.all = append(s.all, set)
	s.flags.Var(set, name, usage+" ["+environment(name)+"]")
	if kind == "bool" {
		s.flags.Lookup(name).NoOptDefVal = "true"
	}
	if err := s.command.RegisterFlagCompletionFunc(name, completer(kind)); err != nil {
		panic(err) // the flag was defined in the line above, and only there
	}
}

// define adds a setting whose parsed value goes to target.
func define[T any](s *settings, name, kind, initial, usage string, target *T, parse func(string) (T, error)) {
	tuning.Define(s, name, kind, initial, usage, target, parse)
}

// defineSwitch adds a setting that is off unless given.
func defineSwitch(s *settings, name, usage string, target *bool) {
	tuning.DefineSwitch(s, name, usage, target)
}

// envPrefix begins the name of every variable.
const envPrefix = tuning.Prefix

// environment returns the variable that stands for a flag.
func environment(flag string) string { return tuning.Variable(flag) }

// resolve takes from the environment what the command line leaves open, an
// empty variable being none, and parses everything. Its error names every
// problem by the flag or variable it comes from; it never quotes a value that
// could hold a password.
func (s *settings) resolve(getenv func(string) string) error {
	var problems configError
	for _, set := range s.all {
		from := "--" + set.name
		if text := getenv(environment(set.name)); text != "" && !s.flags.Changed(set.name) {
			from, set.text = environment(set.name), text
		}
		if err := set.parse(set.text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", from, err))
		}
	}
	if s.check != nil {
		problems = append(problems, s.check()...)
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// configError is everything that is wrong with a configuration.
type configError []error

// Error lists the problems, one a line.
func (e configError) Error() string {
	var b strings.Builder
	b.WriteString("the configuration can't be used:")
	for _, problem := range e {
		for line := range strings.Lines(problem.Error()) {
			b.WriteString("\n  " + strings.TrimSuffix(line, "\n"))
		}
	}
	return b.String()
}

// Unwrap returns the problems.
func (e configError) Unwrap() []error { return e }

// named says which setting a problem is about that several decide together.
func named(name, format string, args ...any) error { return tuning.Named(name, format, args...) }

// String returns the setting's text, for --help the default.
func (s *setting) String() string { return s.text }

// Set takes any text.
func (s *setting) Set(text string) error {
	s.text = text
	return nil
}

// Type returns the word that --help shows for the value.
func (s *setting) Type() string { return s.kind }

var errEmpty = errors.New("must not be empty")
