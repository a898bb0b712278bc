package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/spf13/cobra"
)

// until is what those commands say that run until they are told to end.
var until = map[string]string{
	"serve": "msg=ready",
	"dev":   "msg=ready",
	"watch": "watching the events",
}

// before is what the examples of a command take as given.
var before = map[string]string{
	"notifier user passwd":  "notifier user add alice --no-password",
	"notifier user disable": "notifier user add alice --no-password",
	"notifier user enable":  "notifier user add alice --no-password; notifier user disable alice",
}

// exampleTables are those that examples name.
const exampleTables = `
	CREATE TABLE public.issues (id bigint PRIMARY KEY, dataset_id text, search text);
	CREATE SCHEMA app;
	CREATE TABLE app.members (id bigint PRIMARY KEY, user_id text, role text)`

// TestExamples_Work runs every line that a --help shows as an example, as
// somebody would who pastes it into a shell. What a machine must bring, the test
// does: a database with tables, free ports, files of those names.
func TestExamples_Work(t *testing.T) {
	t.Parallel()
	_, at := serving(t, dbtest.New(t))
	tried := map[string]bool{}
	eachCommand(tree(), func(command *cobra.Command) {
		lines, exports := []string{}, ""
		for line := range strings.Lines(command.Example) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "export ") {
				exports += line + "\n"
			} else if !tried[line] {
				tried[line] = true
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			return
		}
		t.Run(command.CommandPath(), func(t *testing.T) {
			t.Parallel()
			s := newShell(t, at)
			if strings.Contains(command.Example, "notifier dev") {
				s.env = append(s.env, "NOTIFIER_DATA="+devFolder(t))
			}
			if setup := before[command.CommandPath()]; setup != "" {
				s.run(t, setup)
			}
			for _, line := range lines {
				s.try(t, exports, line)
			}
		})
	})
}

// shell is a place where command lines can be run.
type shell struct {
	env      []string
	replacer *strings.Replacer
}

func newShell(t *testing.T, server string) *shell {
	t.Helper()
	home := t.TempDir()
	for _, folder := range []string{"bin", ".local/share/bash-completion/completions", ".zsh/completions", ".config/fish/completions"} {
		if err := os.MkdirAll(filepath.Join(home, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	itself, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(itself, filepath.Join(home, "bin", "notifier"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "events.jsonl"), []byte(`{"accessid":"client1","created_at":10,"payload":"p"}`+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cert, key, _ := madeCertificate(t)
	copyFile(t, cert, filepath.Join(home, "cert.pem"))
	copyFile(t, key, filepath.Join(home, "key.pem"))
	database := dbtest.New(t)
	if _, err := dbtest.Connect(t, database).Exec(t.Context(), exampleTables); err != nil {
		t.Fatal(err)
	}
	return &shell{
		env: cleanEnvironment("HOME="+home, "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"), "NOTIFIER_URL="+server,
			"NOTIFIER_DATABASE_URL="+database, "NOTIFIER_ADDR=127.0.0.1:0", "NOTIFIER_POSTGRES_PORT=0"),
		replacer: strings.NewReplacer("postgres://notifier@localhost/app", database, ":8080", ":0", ":8443", ":0", ":9090", ":0"),
	}
}

func (s *shell) command(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", "-euc", s.replacer.Replace(line))
	command.Env = s.env
	for _, variable := range s.env {
		if home, found := strings.CutPrefix(variable, "HOME="); found {
			command.Dir = home
		}
	}
	command.Stdin = strings.NewReader("a long password\n")
	return command
}

// run runs a line to its end.
func (s *shell) run(t *testing.T, line string) {
	t.Helper()
	if out, err := s.command(t, line).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// try runs an example; one that goes on for ever is interrupted once it does
// what it is for.
func (s *shell) try(t *testing.T, exports, line string) {
	t.Helper()
	for _, tool := range []string{"openssl", "man"} {
		if _, err := exec.LookPath(tool); err != nil && strings.Contains(exports+line, tool+" ") {
			t.Logf("not tried, for want of %s: %s", tool, line)
			return
		}
	}
	words := strings.Fields(line)
	said := ""
	if words[0] == "notifier" {
		said = until[words[1]]
	}
	if said == "" {
		s.run(t, exports+line)
		return
	}
	p := follow(t, s.command(t, exports+"exec "+line))
	p.says(p.err, said)
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 0 {
		t.Errorf("%s: code %d", line, code)
	}
}

// TestTopics_PathsAreServed asks a server for the paths that the topic about
// protocols names: none is unknown to it.
func TestTopics_PathsAreServed(t *testing.T) {
	t.Parallel()
	_, at := serving(t, dbtest.New(t))
	for _, path := range protocolPaths() {
		if got := status(t, at+path); path != "/" && (got == http.StatusNotFound || got == 0) {
			t.Errorf("%s: status %d", path, got)
		}
	}
}
