package tuning

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/httpapi"
)

// Bool reads true or false.
func Bool(text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", text)
	}
	return value, nil
}

// Switch understands on and off besides the usual words.
func Switch(text string) (bool, error) {
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

// Off reads a switch of what is on by default: whether it is off.
func Off(text string) (bool, error) {
	on, err := Switch(text)
	return !on, err
}

// List splits at commas; blanks around and empty entries do not count.
func List(text string) ([]string, error) {
	var list []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	return list, nil
}

// Count reads a whole number above 0.
func Count(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is no whole number above 0", text)
	}
	return n, nil
}

// Limit is Count that also takes "none".
func Limit(text string) (int, error) {
	if text == "none" {
		return httpapi.Unlimited, nil
	}
	n, err := Count(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a whole number above 0 nor none", text)
	}
	return n, nil
}

// Duration reads what Go calls a duration, and days before it: 7d, 1d12h.
func Duration(text string) (time.Duration, error) {
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

// Interval is Duration that also takes "auto", for 0.
func Interval(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	return Duration(text)
}

// Size reads a number of bytes, or of KiB, MiB or GiB.
func Size[T int | int64](text string) (T, error) {
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

// Origins reads a list of origins as a browser sends them.
func Origins(text string) ([]string, error) { return each(text, httpapi.CheckOrigin) }

// Hosts reads a list of host names, with or without a port.
func Hosts(text string) ([]string, error) { return each(text, httpapi.CheckHost) }

// each reads a list and reports all in it that is wrong.
func each(text string, check func(string) error) ([]string, error) {
	list, _ := List(text)
	var problems []error
	for _, value := range list {
		problems = append(problems, check(value))
	}
	return list, errors.Join(problems...)
}

// Latest reads a list of types, or none. It is never nil, which would stand
// for the default.
func Latest(text string) ([]string, error) {
	list := []string{}
	if text == "none" {
		return list, nil
	}
	more, _ := List(text)
	if slices.Contains(more, "*") {
		return nil, errors.New("* is not the name of a type")
	}
	return append(list, more...), nil
}

// Prefix begins the name of every variable.
const Prefix = "NOTIFIER_"

// Variable returns the environment variable that stands for a setting.
func Variable(name string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
