package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/db"
)

// The parsers of settings. None quotes a text that could hold a password.

func parseText(text string) (string, error) { return text, nil }

func oneOf(choices ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(choices, text) {
			return "", fmt.Errorf("%q is none of %s", text, strings.Join(choices, ", "))
		}
		return text, nil
	}
}

func parseLevel(text string) (level slog.Level, err error) {
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%q is none of debug, info, warn, error", text)
	}
	return level, nil
}

// parsePort takes 0 for any free port.
func parsePort(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port number", text)
	}
	return int(n), nil
}

// maxRate bounds what a rate may ask for, in a second.
const maxRate = 1000

// parseRate reads how often something happens, 5/s or 2/m, and returns the time
// from one to the next; 0 for off.
func parseRate(text string) (time.Duration, error) {
	if text == "off" {
		return 0, nil
	}
	bad := fmt.Errorf("%q is neither off nor a rate up to %d/s, such as 5/s or 2/m", text, maxRate)
	count, unit, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || !known || n < 1 || time.Duration(n) > maxRate*per/time.Second {
		return 0, bad
	}
	return per / time.Duration(n), nil
}

// parseDatabaseURL refuses here what would fail later, by the setting's name and
// without quoting it.
func parseDatabaseURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return text, db.CheckURL(text)
}
