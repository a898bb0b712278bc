package testcontainers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"example.com/notifier/cmd/notifier/tuning"
)

// standard is what instances of tests have that differs from what notifier has by
// itself. Tests have no users who would all come again in the same moment.
var standard = map[string]string{
	"NOTIFIER_SYSADM_TYPES":  "*",
	"NOTIFIER_DRAIN":         "50ms",
	"NOTIFIER_CLOSE_TIMEOUT": "2s",
}

// leastPayload is room for a fence.
const leastPayload = 64

// Setting sets one of notifier's settings by the variable that it has in production,
// such as NOTIFIER_RETENTION; "" is its default. It may be any that does not say where
// a server is or whose tokens it takes: those are this package's business. Three differ from
// what they are in production: NOTIFIER_SYSADM_TYPES is *, NOTIFIER_DRAIN 50ms, and
// NOTIFIER_CLOSE_TIMEOUT 2s.
func Setting(variable, value string) StartOption {
	return func(o *startOptions) { o.settings[variable] = value }
}

// settings are what a runner needs.
type settings struct {
	database string // URL
	secret   []byte
	image    string
	fence    string
	log      testing.TB
	given    map[string]string // by their variables
}

// environment is the variables of an instance, without those of where it is.
func (s settings) environment() map[string]string {
	variables := maps.Clone(standard)
	maps.Copy(variables, s.given)
	const types = "NOTIFIER_SYSADM_TYPES"
	variables[types] = strings.Trim(variables[types]+","+s.fence, ",") // or sysadm's clients would get no fences
	return variables
}

// tuning is what the variables say.
func (s settings) tuning() (*tuning.Config, error) {
	var c tuning.Config
	known := table{}
	c.All(known, "")
	variables := s.environment()
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if _, ok := known[name]; !ok {
			problems = append(problems, fmt.Errorf("%s: there is no such setting, or it is not for a test to set", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		text := variables[name]
		if text == "" {
			text = known[name].initial
		}
		if err := known[name].parse(text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(problems) == 0 && c.DB.MaxPayload < leastPayload {
		problems = append(problems, fmt.Errorf("NOTIFIER_MAX_PAYLOAD: must be %d at least, or this package's own events would not come", leastPayload))
	}
	return &c, errors.Join(append(problems, c.Problems()...)...)
}

// table is the settings by their variables.
type table map[string]entry

type entry struct {
	initial string
	parse   func(text string) error
}

// Section is for those who print them.
func (table) Section(string) {}

// Add takes a setting.
func (t table) Add(name, _, initial, _ string, parse func(text string) error) {
	t[tuning.Variable(name)] = entry{initial, parse}
}
