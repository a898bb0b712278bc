//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// series are the results of the rounds of one measurement.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// over divides the series by another, round by round: the two of a round were
// measured next to each other, whatever the machine was like then.
func (s series) over(other series) series {
	ratios := make(series, len(s))
	for i := range s {
		ratios[i] = s[i] / other[i]
	}
	return ratios
}

// cell prints the median, and behind it the range if there were more rounds.
func (s series) cell(decimals int) string {
	if len(s) == 0 {
		return "-"
	}
	text := number(s.median(), decimals)
	if len(s) > 1 {
		text += fmt.Sprintf(" (%s..%s)", number(slices.Min(s), decimals), number(slices.Max(s), decimals))
	}
	return text
}

// number prints thousands apart: 1,234,567.
func number(x float64, decimals int) string {
	text := fmt.Sprintf("%.*f", decimals, x)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// percentile returns the value below which that share of sorted values lies.
func percentile(sorted []float64, share float64) float64 {
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// table is what a section prints.
type table struct {
	title  string
	header []string
	rows   [][]string
	notes  []string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", t.title)
	columns := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{t.header}, t.rows...) {
		fmt.Fprintln(columns, strings.Join(row, "\t")+"\t")
	}
	if err := columns.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	for _, note := range t.notes {
		fmt.Fprintln(w, "  "+note)
	}
	return nil
}
