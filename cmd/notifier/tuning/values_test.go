package tuning

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "90s": 90 * time.Second, "100000d": 100_000 * 24 * time.Hour,
	} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0s", "-1s", "1", "d", "1d-2h", "-1d", "NaNd", "Infd", "200000d", "106751d", "1d1d", "100000d2540400h"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("accepted %q as %v", text, got)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"1": 1, "64KiB": 64 << 10, "16 MiB": 16 << 20, "2GiB": 2 << 30} {
		if got, err := Size[int](text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "1MB", "KiB", "9223372036854775807", "9223372036854775807GiB", "1.5MiB"} {
		if got, err := Size[int](text); err == nil {
			t.Errorf("accepted %q as %v", text, got)
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	if got, err := Hosts("a.example, b:8080,[::1]"); err != nil || len(got) != 3 {
		t.Errorf("hosts: %q, %v", got, err)
	}
	for _, text := range []string{"http://a", "*", "u@h"} {
		if got, err := Hosts(text); err == nil {
			t.Errorf("accepted hosts %q as %q", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("0.1d")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := Duration(text); err == nil && d <= 0 {
			t.Errorf("%q became %v", text, d)
		}
	})
}

func FuzzSize(f *testing.F) {
	f.Add("64KiB")
	f.Add("8388607GiB")
	f.Add(" 1 MiB")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := Size[int64](text); err == nil && n <= 0 {
			t.Errorf("%q became %v", text, n)
		}
	})
}

func TestLatest_NoTypesAreNotTheUsualOnes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{"none": {}, "": {}, "a, b": {"a", "b"}, "none,a": {"none", "a"}} {
		got, err := Latest(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	if _, err := Latest("a,*"); err == nil {
		t.Error("* is taken for a type")
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	if got, err := Origins("https://a.example, null,*,http://b:81"); err != nil || len(got) != 4 {
		t.Errorf("origins: %q, %v", got, err)
	}
	for _, text := range []string{"a.example", "https://a/", "https://u@a", "file"} {
		if got, err := Origins(text); err == nil {
			t.Errorf("accepted origins %q as %q", text, got)
		}
	}
}
