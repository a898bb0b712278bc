package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Role is what a token allows besides subscribing.
type Role string

// The roles. Whoever has a valid token may subscribe, if the policy knows the
// user.
const (
	Publisher Role = "publisher" // may push events
	Admin     Role = "admin"     // may drop users, see clients, and all a publisher may
)

// ParseRole returns the role with a name.
func ParseRole(name string) (Role, error) {
	role := Role(name)
	if RolesOf(role) == 0 {
		return "", fmt.Errorf("role %q is neither %q nor %q", name, Publisher, Admin)
	}
	return role, nil
}

// Roles is a set of roles; zero is the empty one.
type Roles uint8

const (
	publisherBit Roles = 1 << iota
	adminBit
)

// RolesOf returns the set of some roles and what they imply. Roles that are not
// ours are left out: tokens carry those of other applications too.
func RolesOf(roles ...Role) Roles {
	var set Roles
	for _, role := range roles {
		switch role {
		case Publisher:
			set |= publisherBit
		case Admin:
			set |= adminBit | publisherBit
		}
	}
	return set
}

// Has tells whether a role is in the set.
func (r Roles) Has(role Role) bool {
	bits := RolesOf(role)
	return bits != 0 && r&bits == bits
}

// String names the roles that are left when the implied ones are not repeated.
func (r Roles) String() string { return strings.Join(r.names(), " ") }

func (r Roles) names() []string {
	switch {
	case r.Has(Admin):
		return []string{string(Admin)}
	case r.Has(Publisher):
		return []string{string(Publisher)}
	}
	return []string{}
}

// Identity is who a client is. It is a value that may be compared and copied.
type Identity struct {
	// User is never empty, and no longer than [MaxUser].
	User  string
	Roles Roles
	// Expires is when what rests on this identity ends: the token's expiry plus
	// the leeway, so that a token is never accepted and ended at the same time.
	// Zero means never, as for an anonymous client.
	Expires time.Time
	// Fingerprint tells tokens apart in logs, where the token itself must not
	// be. It is 16 hexadecimal digits, or empty without a token.
	Fingerprint string
}

// Expired tells whether the identity has ended at a time.
func (i Identity) Expired(now time.Time) bool {
	return !i.Expires.IsZero() && !now.Before(i.Expires)
}

// MaxUser is the longest user id, in bytes.
const MaxUser = 256

// checkUser refuses what Postgres can't store, and what JSON's decoder makes of
// text it can't represent: two different broken ids would be the same user.
func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("user is empty")
	case len(user) > MaxUser:
		return fmt.Errorf("user has more than %d bytes", MaxUser)
	case !utf8.ValidString(user) || slices.Contains([]rune(user), utf8.RuneError):
		return errors.New("user is not valid UTF-8")
	case strings.ContainsRune(user, 0):
		return errors.New("user contains a NUL")
	}
	return nil
}
