package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/notifier/cmd/notifier/tuning"
	"go.yaml.in/yaml/v3"
)

// names finds the metrics of an expression: what is left of its words without
// labels, ranges, functions and keywords.
func names(expression string) []string {
	for _, part := range []*regexp.Regexp{
		regexp.MustCompile(`"[^"]*"`),
		regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`),
		regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`),
		regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(`), // of a function
		regexp.MustCompile(`\b(and|or|unless|bool|offset|sum|min|max|avg|count)\b`),
	} {
		expression = part.ReplaceAllString(expression, " ")
	}
	return regexp.MustCompile(`[a-zA-Z_:][\w:]*`).FindAllString(expression, -1)
}

func TestNames(t *testing.T) {
	t.Parallel()
	const expression = `sum by (a, le) (rate(x_total{b=~"c", d!="e f"}[5m])) > 0.1 and on (g) max(y) / ignoring (h) (z_bucket offset 1) or absent(w)`
	if got, want := strings.Join(names(expression), " "), "x_total y z_bucket w"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

type board struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readBoard(t *testing.T) board {
	t.Helper()
	text, err := os.ReadFile("deploy/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// readRules refuses what Prometheus would: keys it does not know.
func readRules(t *testing.T) rules {
	t.Helper()
	file, err := os.Open("deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	var r rules
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDeploy_NamesWhatThereIs compares the board and the rules with what a server
// shows, in both directions: a metric that is on no board nobody will see.
func TestDeploy_NamesWhatThereIs(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for sample := range observe(t).scrape() {
		name, _, _ := strings.Cut(sample, "{")
		there[name] = true
	}
	shown := map[string]bool{}
	check := func(where, expression string) {
		found := names(expression)
		if len(found) == 0 {
			t.Errorf("%s: no metric in %q", where, expression)
		}
		for _, name := range found {
			shown[name] = true
			if !there[name] {
				t.Errorf("%s: there is no %s", where, name)
			}
		}
	}
	for _, p := range readBoard(t).Panels {
		for _, target := range p.Targets {
			check("board, "+p.Title, target.Expr)
		}
	}
	for name := range there {
		base := name
		for _, suffix := range []string{"_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if strings.HasPrefix(name, "notifier_") && !shown[name] && !shown[base+"_bucket"] {
			t.Errorf("%s is on no board", name)
		}
	}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			check("rule "+rule.Alert, rule.Expr)
		}
	}
}

func TestDeploy_BoardIsWhole(t *testing.T) {
	t.Parallel()
	b := readBoard(t)
	ids := map[int]bool{}
	for _, p := range b.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q: the id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("panel %q does not go by the instance: %s", p.Title, target.Expr)
			}
		}
	}
	variables := []string{}
	for _, v := range b.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Contains(variables, "instance") || !slices.Contains(variables, "datasource") {
		t.Errorf("variables %v", variables)
	}
}

func TestDeploy_RulesAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || seen[rule.Alert] {
				t.Errorf("alert %q: no name, or a second of this name", rule.Alert)
			}
			seen[rule.Alert] = true
			if rule.For != "" {
				if _, err := tuning.Duration(rule.For); err != nil {
					t.Errorf("%s: for: %v", rule.Alert, err)
				}
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
				t.Errorf("%s: severity %q", rule.Alert, rule.Labels["severity"])
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s says too little: %v", rule.Alert, slices.Collect(maps.Keys(rule.Annotations)))
			}
			if strings.Count(rule.Expr, "(") != strings.Count(rule.Expr, ")") {
				t.Errorf("%s: parentheses: %s", rule.Alert, rule.Expr)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are no rules")
	}
}
