package main

import (
	"strings"
	"testing"
	"time"

	"example.com/notifier/cmd/notifier/tuning"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// resolved parses a command line and an environment into settings of a few
// kinds.
type resolved struct {
	Drain time.Duration
	List  []string
	On    bool
	URL   string
}

func resolve(t *testing.T, args []string, env map[string]string) (resolved, error) {
	t.Helper()
	var r resolved
	command := &cobra.Command{Use: "test"}
	s := newSettings(command)
	define(s, "drain-time", "duration", "10s", "", &r.Drain, tuning.Duration)
	define(s, "list", "list", "a,b", "", &r.List, tuning.List)
	defineSwitch(s, "on", "", &r.On)
	define(s, "database-url", "url", "", "", &r.URL, parseDatabaseURL)
	if err := command.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return r, s.resolve(func(name string) string { return env[name] })
}

func TestSettings_FlagWinsOverEnvironmentOverDefault(t *testing.T) {
	t.Parallel()
	env := map[string]string{"NOTIFIER_DRAIN_TIME": "20s", "NOTIFIER_ON": "true", "NOTIFIER_LIST": ""}
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		want resolved
	}{
		"defaults":    {nil, nil, resolved{10 * time.Second, []string{"a", "b"}, false, ""}},
		"environment": {nil, env, resolved{20 * time.Second, []string{"a", "b"}, true, ""}},
		"flags":       {[]string{"--drain-time=30s", "--on=false", "--list="}, env, resolved{30 * time.Second, nil, false, ""}},
		"bare switch": {[]string{"--on"}, nil, resolved{10 * time.Second, []string{"a", "b"}, true, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := resolve(t, test.args, test.env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettings_AllProblemsAtOnceByName(t *testing.T) {
	t.Parallel()
	_, err := resolve(t,
		[]string{"--drain-time=soon"},
		map[string]string{"NOTIFIER_ON": "perhaps", "NOTIFIER_DATABASE_URL": "mysql://u:hunter2@h/d"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"--drain-time: ", "NOTIFIER_ON: ", "NOTIFIER_DATABASE_URL: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not named: %s in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("quotes a password: %v", err)
	}
}

func TestParseAddresses(t *testing.T) {
	t.Parallel()
	if got, err := parseAddresses(" 127.0.0.1:8080, tls://:0,tls://[::1]:80 "); err != nil || len(got) != 3 {
		t.Errorf("addresses: %q, %v", got, err)
	}
	for _, text := range []string{"", ",", "8080", "host", "host:http", "host:99999", "tls://", "tls://host", "tls://host:http", "TLS://:1", "https://:443"} {
		if got, err := parseAddresses(text); err == nil {
			t.Errorf("accepted addresses %q as %q", text, got)
		}
	}
}
