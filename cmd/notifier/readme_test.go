package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReadme_SettingsAreThoseThereAre compares the README's table with the
// flags: which there are, of which commands, and their defaults.
func TestReadme_SettingsAreThoseThereAre(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(NOTIFIER_[A-Z_]+)` \\|([^|]*)\\| ([^|]*) \\|").FindAllStringSubmatch(string(readme), -1)
	documented, defaults := map[string]string{}, map[string]string{}
	for _, row := range rows {
		documented[row[1]], defaults[row[1]] = row[3], row[2]
	}
	there := map[string]map[string]bool{}
	root, _ := (&app{getenv: func(string) string { return "" }}).commands()
	eachSetting(root, func(command string, flag *pflag.Flag) {
		name := environment(flag.Name)
		if there[name] == nil {
			there[name] = map[string]bool{}
		}
		there[name][command] = true
		if flag.DefValue != "" && flag.Name != "data" && !strings.Contains(defaults[name], "`"+flag.DefValue+"`") {
			t.Errorf("%s: the README gives the default %s, it is %s for %s", name, defaults[name], flag.DefValue, command)
		}
	})
	for name, commands := range there {
		got := strings.Split(documented[name], ", ")
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(commands)), got); diff != "" {
			t.Errorf("%s: commands (-there +README):\n%s", name, diff)
		}
		delete(documented, name)
	}
	if len(documented) > 0 {
		t.Errorf("the README names what is not there: %v", slices.Sorted(maps.Keys(documented)))
	}
}

// TestReadme_TestOfAnApplicationIsOne: what the README shows of package
// testcontainers is run with the sample application's tests.
func TestReadme_TestOfAnApplicationIsOne(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.ReadFile("../../testcontainers/example/readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(run), ")\n\n") // behind the imports
	if !strings.Contains(string(readme), "```go\n"+code+"```\n") {
		t.Errorf("the README does not show what is run:\n%s", code)
	}
}

// eachSetting visits the settings of every command; those of a sub-command
// count for its parent.
func eachSetting(root *cobra.Command, visit func(command string, flag *pflag.Flag)) {
	for _, command := range root.Commands() {
		for _, sub := range append(command.Commands(), command) {
			sub.Flags().VisitAll(func(flag *pflag.Flag) {
				if _, ok := flag.Value.(*setting); ok {
					visit(command.Name(), flag)
				}
			})
		}
	}
}
