package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"

	"example.com/notifier/db"
	"example.com/notifier/httpapi/auth"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) userCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "user",
		Short: "Make users, give them passwords, disable them",
		Long: "user manages notifier.users, the table of those who may subscribe unless the application has replaced\n" +
			"notifier.user_exists by a function of its own. Tokens need no password; it is for protocols that log in.",
		Example: "  notifier user add alice --role publisher",
		RunE:    func(command *cobra.Command, _ []string) error { return command.Help() },
		Args:    cobra.NoArgs,
	}
	command.AddCommand(
		a.userAdd(),
		a.userStep("passwd", "  notifier user passwd alice", "Replace a user's password, read from standard input; tokens issued for the old one end", a.changePassword),
		a.userStep("disable", "  notifier user disable alice", "Have a user count as none; tokens issued to the user end", disable(true)),
		a.userStep("enable", "  notifier user enable alice", "Have a disabled user count again", disable(false)),
	)
	return command
}

// userStep is a command on one user that exists.
func (a *app) userStep(name, example, short string, step func(context.Context, *db.DB, string) error) *cobra.Command {
	command := &cobra.Command{Use: name + " USER", Short: short, Example: example, Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions}
	var c databaseConfig
	s := newSettings(command)
	c.define(s)
	s.check = c.problems
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return withDatabase(command.Context(), c, func(d *db.DB) error { return step(command.Context(), d, args[0]) })
	}
	return command
}

func (a *app) userAdd() *cobra.Command {
	var roles []auth.Role
	var noPassword bool
	const example = "  notifier user add alice --role publisher         # asks for the password\n" +
		"  openssl rand -base64 18 | tee password | notifier user add bob\n" +
		"  notifier user add carol --no-password            # shows tokens of your own"
	command := a.userStep("add", example, "Make a user; the password is read from standard input", func(ctx context.Context, d *db.DB, name string) error {
		var hash string
		if !noPassword {
			var err error
			if hash, err = a.readPassword(); err != nil {
				return err
			}
		}
		return d.CreateUser(ctx, name, hash, roleNames(roles), operator())
	})
	s := newSettings(command)
	s.Section("The user")
	define(s, "role", "publisher,admin", "", "what the user may besides subscribing", &roles, parseRoles)
	defineSwitch(s, "no-password", "the user can't log in, and shows tokens", &noPassword)
	rest := command.RunE
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := s.resolve(a.getenv); err != nil {
			return err
		}
		return rest(command, args)
	}
	return command
}

func roleNames(roles []auth.Role) []string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return names
}

func (a *app) changePassword(ctx context.Context, d *db.DB, name string) error {
	hash, err := a.readPassword()
	if err != nil {
		return err
	}
	return d.SetPassword(ctx, name, hash, operator())
}

func disable(disabled bool) func(context.Context, *db.DB, string) error {
	return func(ctx context.Context, d *db.DB, name string) error {
		return d.SetDisabled(ctx, name, disabled, operator())
	}
}

// operator is who is logged in here, for the audit trail; "" if that can't be
// told: then it is the database role alone.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func withDatabase(ctx context.Context, c databaseConfig, work func(*db.DB) error) error {
	url := c.url
	if url == "" {
		url = c.direct()
	}
	d, err := db.Open(ctx, db.Config{URL: url, MaxConns: 1})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := checkSchema(ctx, d); err != nil {
		return err
	}
	return work(d)
}

var errPasswordsDiffer = errors.New("the passwords differ")

// readPassword returns the hash of a password: typed twice, unseen, on a
// terminal; else the first line of standard input.
func (a *app) readPassword() (hash string, err error) {
	if fd := int(a.in.Fd()); term.IsTerminal(fd) {
		first, err := a.ask(fd, "Password: ")
		if err != nil {
			return "", err
		}
		again, err := a.ask(fd, "Again: ")
		if err != nil {
			return "", err
		}
		if first != again {
			return "", errPasswordsDiffer
		}
		return auth.HashPassword(first)
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return auth.HashPassword(strings.TrimRight(line, "\r\n"))
}

func (a *app) ask(fd int, prompt string) (string, error) {
	fmt.Fprint(a.err, prompt)
	password, err := term.ReadPassword(fd)
	fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(password), nil
}
