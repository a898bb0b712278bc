package auth

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrMissing means that a client sent no credential at all.
	ErrMissing = errors.New("no credential")
	// ErrMalformed means that a client sent something in a credential's place
	// that is none.
	ErrMalformed = errors.New("malformed credential")
	// ErrInvalid is wrapped by every [TokenError].
	ErrInvalid = errors.New("invalid token")
	// ErrWrongPassword means that there is no such user or that the password is
	// another one; which of them, nobody is told.
	ErrWrongPassword = errors.New("wrong user or password")
	// ErrBusy means that more passwords wait to be checked than can be; the
	// client should try again.
	ErrBusy = errors.New("too many logins at once")
)

// Reason says why a token is invalid. It is from this list and never contains
// anything of the token: fit for logs and metric labels.
type Reason string

// The reasons.
const (
	ReasonLength      Reason = "too_long"
	ReasonMalformed   Reason = "malformed"
	ReasonAlgorithm   Reason = "algorithm"   // not one that is configured, or not one for that key
	ReasonCritical    Reason = "critical"    // a header which must be understood, and is not
	ReasonKey         Reason = "unknown_key" // no key has this id, or it names none where several could be meant
	ReasonSignature   Reason = "signature"
	ReasonExpired     Reason = "expired"
	ReasonNotYetValid Reason = "not_yet_valid"
	ReasonFuture      Reason = "issued_in_future"
	ReasonIssuer      Reason = "issuer"
	ReasonAudience    Reason = "audience"
	ReasonClaims      Reason = "claims" // no exp, a claim of the wrong type, or the same one twice
	ReasonUser        Reason = "user"   // the user claim is missing, or is no user id
	ReasonPurpose     Reason = "purpose"
)

// TokenError says that a token was not accepted, and why. It wraps
// [ErrInvalid].
type TokenError struct {
	// Reason is for the operator; clients are told only that it is invalid.
	Reason Reason
}

// Error says so without anything of the token.
func (e *TokenError) Error() string { return fmt.Sprintf("verify token: %s", e.Reason) }

// Unwrap returns [ErrInvalid].
func (e *TokenError) Unwrap() error { return ErrInvalid }

func invalid(reason Reason) error { return &TokenError{Reason: reason} }

// ThrottledError means that a login was not even tried, because too many have
// failed.
type ThrottledError struct {
	// RetryAfter is when the next one will be tried; it is above zero.
	RetryAfter time.Duration
}

// Error says how long to wait.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins: try again in %v", e.RetryAfter)
}
