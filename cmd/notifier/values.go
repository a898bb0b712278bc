package main

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
)

// The parsers of settings. None quotes a text that could hold a password.

func parseText(text string) (string, error) { return text, nil }

func parseBool(text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", text)
	}
	return value, nil
}

// parseSwitch understands on and off besides the usual words.
func parseSwitch(text string) (bool, error) {
	switch text {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%q is neither on nor off", text)
	}
	return value, nil
}

// parseOff reads a switch of what is on by default: whether it is off.
func parseOff(text string) (bool, error) {
	on, err := parseSwitch(text)
	return !on, err
}

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

// parseList splits at commas; blanks around and empty entries do not count.
func parseList(text string) ([]string, error) {
	var list []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	return list, nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is no whole number above 0", text)
	}
	return n, nil
}

// parseLimit is parseCount that also takes "none".
func parseLimit(text string) (int, error) {
	if text == "none" {
		return httpapi.Unlimited, nil
	}
	n, err := parseCount(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a whole number above 0 nor none", text)
	}
	return n, nil
}

// parsePort takes 0 for any free port.
func parsePort(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no port number", text)
	}
	return int(n), nil
}

// parseDuration reads what Go calls a duration, and days before it: 7d, 1d12h.
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is no duration above 0, such as 10s, 1h30m or 7d", text)
	rest := text
	var total time.Duration
	if days, after, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0 && n <= 100_000) {
			return 0, bad
		}
		total, rest = time.Duration(n*float64(24*time.Hour)), after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > math.MaxInt64-total {
			return 0, bad
		}
		total += d
	}
	if total <= 0 {
		return 0, bad
	}
	return total, nil
}

// parseInterval is parseDuration that also takes "auto", for 0.
func parseInterval(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	return parseDuration(text)
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

// parseSize reads a number of bytes, or of KiB, MiB or GiB.
func parseSize[T int | int64](text string) (T, error) {
	bad := fmt.Errorf("%q is no size above 0, such as 65536, 64KiB or 16MiB", text)
	shift := 0
	digits := text
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if before, found := strings.CutSuffix(text, unit); found {
			digits, shift = strings.TrimSpace(before), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > (math.MaxInt64>>20)>>shift {
		return 0, bad
	}
	return T(n << shift), nil
}

// parseDatabaseURL refuses here what would fail later, by the setting's name and
// without quoting it.
func parseDatabaseURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return text, db.CheckURL(text)
}
