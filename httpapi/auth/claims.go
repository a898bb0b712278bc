package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// lastSecond is the end of the year 9999, beyond which a number is no time: the
// library's conversion of larger ones depends on the processor.
const lastSecond = 253402300799

// expiry returns exp, which the library has checked, after refusing times that
// it can't have understood.
func expiry(claims jwt.MapClaims) (time.Time, error) {
	for _, name := range []string{"exp", "nbf", "iat"} {
		value, present := claims[name]
		if seconds, ok := value.(float64); present && (!ok || seconds < 0 || seconds > lastSecond) {
			return time.Time{}, invalid(ReasonClaims)
		}
	}
	exp, err := claims.GetExpirationTime()
	if err != nil || exp == nil {
		return time.Time{}, invalid(ReasonClaims)
	}
	return exp.Time, nil
}

// lookUp finds a claim by its whole name (some contain dots, being URLs), else
// by a path whose parts are separated by dots. It returns nil if there is none.
func lookUp(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok {
		return value
	}
	first, rest, nested := strings.Cut(name, ".")
	object, ok := claims[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return lookUp(object, rest)
}

// rolesIn reads the roles claim. What it can't read gives no rights.
func rolesIn(claim any) Roles {
	var set Roles
	switch value := claim.(type) {
	case string:
		for name := range strings.FieldsSeq(value) {
			set |= RolesOf(Role(name))
		}
	case []any:
		for _, element := range value {
			if name, ok := element.(string); ok {
				set |= RolesOf(Role(name))
			}
		}
	}
	return set
}

// checkSegments refuses what the JSON decoder would mend silently: bytes that
// are no UTF-8, and the same name twice, of which other parsers of the same
// token may take the other one. The signature is good by now, so this is not
// done for garbage.
func checkSegments(token string) error {
	header, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for _, segment := range []string{header, payload} {
		data, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil || !utf8.Valid(data) {
			return invalid(ReasonMalformed)
		}
		if repeatsName(data) {
			return invalid(ReasonClaims)
		}
	}
	return nil
}

// repeatsName tells whether any object of a JSON text has a name twice. What is
// no JSON repeats nothing.
func repeatsName(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	type level struct {
		names map[string]bool // nil in an array
		value bool            // the next token is the value of a name
	}
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return false // the end
		}
		top := len(levels) - 1
		if name, ok := token.(string); ok && top >= 0 && levels[top].names != nil && !levels[top].value {
			if levels[top].names[name] {
				return true
			}
			levels[top].names[name], levels[top].value = true, true
			continue
		}
		if top >= 0 {
			levels[top].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
		}
	}
}
