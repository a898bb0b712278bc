//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// plan is a node of a plan that was carried out, as auto_explain tells.
type plan struct {
	Type    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Removed float64 `json:"Rows Removed by Filter"`
	Hit     int     `json:"Shared Hit Blocks"`
	Read    int     `json:"Shared Read Blocks"`
	Plans   []plan  `json:"Plans"`
}

// explained is a statement that was run.
type explained struct {
	Query string `json:"Query Text"`
	Plan  plan   `json:"Plan"`
}

var queryName = regexp.MustCompile(`-- name: (\w+)`)

func (e *explained) name() string {
	if found := queryName.FindStringSubmatch(e.Query); found != nil {
		return found[1]
	}
	return "unnamed"
}

// blocks are those that the statement looked at, in the server's memory or beyond it.
func (e *explained) blocks() int { return e.Plan.Hit + e.Plan.Read }

// print writes the nodes of a plan that read a table or an index.
func (p *plan) print(w io.Writer, indent string) {
	if p.Table != "" || p.Index != "" {
		text := p.Type
		if p.Index != "" {
			text += " using " + p.Index
		}
		if p.Table != "" {
			text += " on " + p.Table
		}
		text += fmt.Sprintf(": %s rows in %s loops, %d blocks hit, %d read", number(p.Rows*p.Loops, 0), number(p.Loops, 0), p.Hit, p.Read)
		if p.Removed > 0 {
			text += fmt.Sprintf(", removed by filter %s", number(p.Removed*p.Loops, 0))
		}
		fmt.Fprintln(w, indent+text)
		indent += "  "
	}
	for i := range p.Plans {
		p.Plans[i].print(w, indent)
	}
}

// planLog reads the plans that the server writes to its log.
type planLog struct {
	file   string
	offset int64
}

// next returns those of the statements that have ended since the last time, but for
// what the feed looks for all the time.
func (l *planLog) next() (all []explained, err error) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, fmt.Errorf("read the plans: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the plans: %w", err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the plans: %w", err)
	}
	l.offset += int64(len(text))
	return parsePlans(text)
}

// parsePlans finds the plans in a part of the log.
func parsePlans(text []byte) (all []explained, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<26) // a statement's arguments are on one line
	var entry strings.Builder
	end := func() error {
		if entry.Len() == 0 {
			return nil
		}
		var e explained
		err := json.Unmarshal([]byte(entry.String()), &e)
		entry.Reset()
		if err != nil {
			return fmt.Errorf("read a plan: %w", err)
		}
		if e.name() != "pulse" {
			all = append(all, e)
		}
		return nil
	}
	inside := false
	for lines.Scan() {
		line := lines.Text()
		rest, goesOn := strings.CutPrefix(line, "\t")
		switch {
		case goesOn && inside:
			entry.WriteString(rest + "\n")
		case !goesOn:
			err = errors.Join(err, end())
			inside = strings.Contains(line, " ms  plan:")
		}
	}
	return all, errors.Join(err, end(), lines.Err())
}
