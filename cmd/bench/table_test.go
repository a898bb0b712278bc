//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		series series
		want   string
	}{
		{nil, "-"},
		{series{1234.5}, "1,234.5"},
		{series{3, 1, 2}, "2.0 (1.0..3.0)"},
		{series{1, 4, 2, 3}, "2.5 (1.0..4.0)"},
	} {
		if got := c.series.cell(1); got != c.want {
			t.Errorf("%v: %q, want %q", c.series, got, c.want)
		}
	}
	if got := (series{8, 9}).over(series{2, 3}); got[0] != 4 || got[1] != 3 {
		t.Errorf("ratios are %v", got)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for want, x := range map[string]float64{"0": 0, "999": 999, "1,000": 1000, "-12,345": -12345, "1,234,567": 1234567} {
		if got := number(x, 0); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	sorted := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for share, want := range map[float64]float64{0: 1, 0.5: 6, 0.99: 10, 1: 10} {
		if got := percentile(sorted, share); got != want {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
}

func TestTable_Print(t *testing.T) {
	t.Parallel()
	table := table{title: "title", header: []string{"", "x"}}
	table.add("row", "1")
	table.note("a %s", "note")
	var out strings.Builder
	if err := table.print(&out); err != nil {
		t.Fatal(err)
	}
	if want := "\ntitle\n         x\n   row   1\n  a note\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
