package main

import (
	"strings"
	"testing"
	"time"

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
	define(s, "drain-time", "duration", "10s", "", &r.Drain, parseDuration)
	define(s, "list", "list", "a,b", "", &r.List, parseList)
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

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "90s": 90 * time.Second, "100000d": 100_000 * 24 * time.Hour,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0s", "-1s", "1", "d", "1d-2h", "-1d", "NaNd", "Infd", "200000d", "106751d", "1d1d", "100000d2540400h"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("accepted %q as %v", text, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"1": 1, "64KiB": 64 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30} {
		if got, err := parseSize[int](text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "1MB", "KiB", "9223372036854775807", "9223372036854775807GiB", "1.5MiB"} {
		if got, err := parseSize[int](text); err == nil {
			t.Errorf("accepted %q as %v", text, got)
		}
	}
}

func TestParseAddressesAndOrigins(t *testing.T) {
	t.Parallel()
	if got, err := parseAddresses(" 127.0.0.1:8080, tls://:0,tls://[::1]:80 "); err != nil || len(got) != 3 {
		t.Errorf("addresses: %q, %v", got, err)
	}
	for _, text := range []string{"", ",", "8080", "host", "host:http", "host:99999", "tls://", "tls://host", "tls://host:http", "TLS://:1", "https://:443"} {
		if got, err := parseAddresses(text); err == nil {
			t.Errorf("accepted addresses %q as %q", text, got)
		}
	}
	if got, err := parseOrigins("https://a.example, null,*,http://b:81"); err != nil || len(got) != 4 {
		t.Errorf("origins: %q, %v", got, err)
	}
	for _, text := range []string{"a.example", "https://a/", "https://u@a", "file"} {
		if got, err := parseOrigins(text); err == nil {
			t.Errorf("accepted origins %q as %q", text, got)
		}
	}
}

func TestParseHosts(t *testing.T) {
	t.Parallel()
	if got, err := parseHosts("a.example, b:8080,[::1]"); err != nil || len(got) != 3 {
		t.Errorf("hosts: %q, %v", got, err)
	}
	for _, text := range []string{"http://a", "*", "u@h"} {
		if got, err := parseHosts(text); err == nil {
			t.Errorf("accepted hosts %q as %q", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("0.1d")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDuration(text); err == nil && d <= 0 {
			t.Errorf("%q became %v", text, d)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	f.Add("64KiB")
	f.Add("8388607GiB")
	f.Add(" 1 MiB")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseSize[int64](text); err == nil && n <= 0 {
			t.Errorf("%q became %v", text, n)
		}
	})
}

// No types are not the usual ones.
func TestSettings_SysadmLatest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{"none": {}, "": {}, "a, b": {"a", "b"}, "none,a": {"none", "a"}} {
		got, err := parseLatest(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	if _, err := parseLatest("a,*"); err == nil {
		t.Error("* is taken for a type")
	}
}
