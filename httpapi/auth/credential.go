package auth

import (
	"log/slog"
	"net/http"
	"strings"
)

// Credential is what a client shows: a token, or a user and a password. It
// prints and logs as nothing of that.
type Credential struct {
	Token string
	// User and Password are set, possibly to empty texts, if ByPassword is.
	User, Password string
	ByPassword     bool
}

// FromRequest returns the credential of a request: that of the Authorization
// header or, without one, the token in the first of the query parameters that
// is there. The header wins even if it is no good: falling back would let
// whoever can only add to a URL choose who the client is. The error is
// [ErrMissing] or [ErrMalformed].
func FromRequest(r *http.Request, parameters ...string) (Credential, error) {
	switch headers := r.Header.Values("Authorization"); len(headers) {
	case 0:
		return fromQuery(r, parameters)
	case 1:
		return fromHeader(r, headers[0])
	}
	return Credential{}, ErrMalformed
}

func fromHeader(r *http.Request, header string) (Credential, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		if token := strings.TrimSpace(rest); token != "" {
			return Credential{Token: token}, nil
		}
	case strings.EqualFold(scheme, "Basic"):
		if user, password, ok := r.BasicAuth(); ok {
			return Credential{User: user, Password: password, ByPassword: true}, nil
		}
	}
	return Credential{}, ErrMalformed
}

func fromQuery(r *http.Request, parameters []string) (Credential, error) {
	if r.URL.RawQuery == "" {
		return Credential{}, ErrMissing
	}
	query := r.URL.Query()
	for _, name := range parameters {
		switch values := query[name]; {
		case len(values) > 1:
			return Credential{}, ErrMalformed
		case len(values) == 1 && values[0] != "":
			return Credential{Token: values[0]}, nil
		}
	}
	return Credential{}, ErrMissing
}

// SplitPassword takes a token with a colon in it for a user and a password, as
// DRP's clients send them in a URL. No token of ours or of others has a colon.
func (c Credential) SplitPassword() Credential {
	user, password, ok := strings.Cut(c.Token, ":")
	if c.ByPassword || !ok {
		return c
	}
	return Credential{User: user, Password: password, ByPassword: true}
}

// String shows nothing of the credential.
func (Credential) String() string { return "(credential)" }

// GoString shows nothing of the credential either.
func (Credential) GoString() string { return "(credential)" }

// LogValue shows nothing of the credential in a log.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }
