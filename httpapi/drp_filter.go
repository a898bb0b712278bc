package httpapi

import (
	"slices"
	"strings"

	"example.com/notifier/notifier"
)

// parseDRPFilter reads TYPE.ACTION.KEY. Only the first two dots part, so a key
// may hold more. A text with fewer is no filter: nothing matches it.
func parseDRPFilter(text string) (f notifier.Filter, ok bool) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 3 {
		return f, false
	}
	f.Types, f.Actions, f.Keys = drpValues(parts[0]), drpValues(parts[1]), drpValues(parts[2])
	return f, true
}

// drpValues returns what a part of a filter lists, each value once; nil: any,
// which is an asterisk and nothing else. In a list an asterisk is a value like
// any other.
func drpValues(part string) []string {
	if part == "*" {
		return nil
	}
	// The real client parts before it replaces, and trims last: \2 never parts a
	// list, and no replacement makes a new escape.
	escapes := strings.NewReplacer(`\1`, ".", `\2`, ",", `\3`, "*")
	values := strings.Split(part, ",")
	for i, value := range values {
		values[i] = strings.TrimSpace(escapes.Replace(value))
	}
	slices.Sort(values)
	return slices.Clone(slices.Compact(values)) // without the room of those that were left out
}
