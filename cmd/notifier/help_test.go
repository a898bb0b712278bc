package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tree returns all commands as a process has them.
func tree() *cobra.Command {
	root, _ := (&app{out: os.Stdout, getenv: func(string) string { return "" }}).commands()
	return root
}

// eachCommand visits the commands that --help shows, and help itself.
func eachCommand(parent *cobra.Command, visit func(*cobra.Command)) {
	visit(parent)
	for _, command := range parent.Commands() {
		if command.IsAvailableCommand() || command.Name() == "help" {
			eachCommand(command, visit)
		}
	}
}

func TestHelp_TeachesByExampleAndNamesEveryVariable(t *testing.T) {
	t.Parallel()
	eachCommand(tree(), func(command *cobra.Command) {
		if command.Short == "" || command.Example == "" {
			t.Errorf("%s: no short text, or no example", command.CommandPath())
		}
		var b strings.Builder
		if err := writeUsage(&b, command, helpWidth); err != nil {
			t.Fatal(err)
		}
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			set, ok := flag.Value.(*setting)
			if !ok {
				return
			}
			if set.heading == "" {
				t.Errorf("%s: --%s has no heading", command.CommandPath(), flag.Name)
			}
			if !strings.Contains(b.String(), "--"+flag.Name) || !strings.Contains(b.String(), "["+environment(flag.Name)+"]") {
				t.Errorf("%s: --%s or its variable is not in\n%s", command.CommandPath(), flag.Name, &b)
			}
		})
		for line := range strings.Lines(b.String() + command.Long) {
			if len(strings.TrimSpace(line)) > helpWidth+10 {
				t.Errorf("%s: too long a line: %s", command.CommandPath(), line)
			}
		}
	})
}

// TestHelp_PathsAreTheReadmes: what the topic about protocols names is what
// the table in the README names.
func TestHelp_PathsAreTheReadmes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range protocolPaths() {
		if !regexp.MustCompile("[ `]" + path + "[`?]").Match(readme) {
			t.Errorf("the README does not name %s", path)
		}
	}
}

// protocolPaths are the paths that the topic about protocols names.
func protocolPaths() (paths []string) {
	for _, found := range regexp.MustCompile(`(?:WebSocket|GET|POST) (/[a-z0-9_/]*)`).FindAllStringSubmatch(aboutProtocols, -1) {
		paths = append(paths, found[1])
	}
	return paths
}

func TestManual_HasEveryCommandAndFlagAndNoWarning(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	if err := writeManual(&page, tree()); err != nil {
		t.Fatal(err)
	}
	eachCommand(tree(), func(command *cobra.Command) {
		if command.HasParent() && command.Name() != "help" && !strings.Contains(page.String(), ".SS "+command.CommandPath()) {
			t.Errorf("no section for %s", command.CommandPath())
		}
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			if _, ok := flag.Value.(*setting); ok && !strings.Contains(page.String(), roff("["+environment(flag.Name)+"]")) {
				t.Errorf("%s: --%s is missing", command.CommandPath(), flag.Name)
			}
		})
	})
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff to read it")
	}
	reader := exec.CommandContext(t.Context(), groff, "-man", "-ww", "-Tascii", "-P-cbou")
	reader.Stdin = strings.NewReader(page.String())
	var warnings strings.Builder
	reader.Stderr = &warnings
	shown, err := reader.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("groff: %v, %s", err, &warnings)
	}
	for _, want := range []string{"--outbox-bytes size", "[NOTIFIER_JWT_SECRET]", `{"access_id": "ann", "timestamp": 0}`, "notifier user passwd USER", `NOTIFIER_JWT_SECRET=$(openssl rand -hex 32)`} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("a reader does not see %q", want)
		}
	}
}

func TestRoff_TextStandsForItself(t *testing.T) {
	t.Parallel()
	p := &manual{}
	p.text(".dot\n'quote' \\1 a-b ^~`\"")
	if diff := cmp.Diff("\\&.dot\n\\&\\(aqquote\\(aq \\e1 a\\-b \\(ha\\(ti\\(ga\\(dq\n", p.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompletion_OffersWhatIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"ser":                     "serve :4",
		"serve --log-level=":      "debug info warn error :4",
		"serve --log-format ":     "text json :4",
		"serve --listen ":         "on off :4",
		"serve --anonymous=":      "true false :4",
		"serve --max-body ":       ":4", // no names of files
		"serve --tls-cert ":       ":0", // names of files
		"dev --data ":             ":16",
		"token --role ":           "publisher admin :6",
		"token --role publisher,": "publisher,admin :6",
		"user add ann --role ":    "publisher admin :6",
		"user passwd ":            ":4",
		"completion ":             "bash zsh fish powershell :4",
		"migrate ":                "down status up :4",
		"help ser":                "serve :4",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			code, out, err := run(t, nil, append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)
			if got := strings.Join(strings.Fields(out), " "); code != 0 || got != want {
				t.Errorf("offers %q, want %q (code %d, %s)", got, want, code, err)
			}
		})
	}
}

func TestCompletion_ScriptsAreWhatTheShellReads(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, script, err := run(t, nil, "completion", shell)
		if code != 0 || !strings.Contains(script, "__complete") || err != "" {
			t.Errorf("%s: code %d, %s", shell, code, err)
		}
		path, missing := exec.LookPath(shell)
		if missing != nil {
			continue
		}
		check := exec.CommandContext(t.Context(), path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s can't read it: %v, %s", shell, err, out)
		}
	}
	if code, _, err := run(t, nil, "completion", "tcsh"); code != exitUsage || !strings.Contains(err, "tcsh") {
		t.Errorf("tcsh: code %d, %s", code, err)
	}
}
