package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
)

// anonymous is who a client is that does not say, when that is allowed.
const anonymous = "anonymous"

// Verifier says whose token it is.
type Verifier interface {
	// Verify returns an error that wraps auth.ErrInvalid for a token that is
	// no good.
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// caller is who a client is, as far as it has shown.
type caller struct {
	auth.Identity
	open bool // it has shown nothing, and need not: it may do everything
	// account is what it has logged in to; nil: it has shown a token of
	// others, or nothing.
	account *notifier.Account
	// admitted says that its protocol has no other place to show anything than
	// the request.
	admitted bool
}

// tokenParameter is the query parameter a token may come in.
const tokenParameter = "token"

// authenticate returns who sends a request: whom a middleware found out, if one
// did (see [withCaller]), or else whose token it shows. Without a credential,
// and if one is needed, it returns errNoToken. A password is good only where a
// protocol has a place for it: a browser sends one that it knows along with what
// a foreign page has it ask for.
func (s *Server) authenticate(r *http.Request) (caller, error) {
	if who, ok := callerIn(r.Context()); ok {
		return who, nil
	}
	credential, err := auth.FromRequest(r, tokenParameter)
	switch {
	case errors.Is(err, auth.ErrMissing):
		return s.stranger()
	case err != nil, credential.ByPassword:
		return caller{}, errBadToken
	}
	return s.verify(r.Context(), credential.Token)
}

// stranger is a client that shows nothing.
func (s *Server) stranger() (caller, error) {
	if !s.config.Anonymous {
		return caller{}, errNoToken
	}
	return caller{Identity: auth.Identity{User: anonymous, Roles: auth.RolesOf(auth.Admin)}, open: true}, nil
}

// whoever is a client that calls itself a user where nobody has to show anything:
// some can't do without a name and a password. They open nothing that is not
// open.
func (s *Server) whoever(user string) (caller, error) {
	who, err := s.stranger()
	if err == nil && user != "" {
		if checkAccessID(user) != nil || !utf8.ValidString(user) {
			return caller{}, errBadToken
		}
		who.User = user
	}
	return who, err
}

func (s *Server) verify(ctx context.Context, token string) (caller, error) {
	if token == "" {
		return caller{}, errNoToken
	}
	if auth.IsSession(token) {
		return s.verifySession(ctx, token)
	}
	if s.config.Tokens == nil {
		return caller{}, errBadToken
	}
	identity, err := s.config.Tokens.Verify(ctx, token)
	if err != nil {
		s.config.Logger.Debug("token refused", "reason", err)
		return caller{}, errBadToken
	}
	return caller{Identity: identity}, nil
}

// actingFor returns for whom a caller receives who claims to be a user: itself,
// unless it may be anybody.
func (c caller) actingFor(claimed string) (string, error) {
	switch {
	case claimed == "" || claimed == c.User:
		return c.User, nil
	case c.Roles.Has(auth.Admin):
		return claimed, nil
	}
	return "", errNotYou
}

// unrestricted reports whether the caller sees everything.
func (c caller) unrestricted() bool { return c.Roles.Has(auth.Admin) }

func (c caller) standing() standing { return standing{c.User, c.unrestricted()} }

// admitTimeout bounds the question whether a user may subscribe.
const admitTimeout = 10 * time.Second

// admit asks the policy about a subscription. Who sees everything needs no
// permission and need not be a user. Of who has logged in, the account must be
// what it was; that is looked at first, since the admission is as of the older
// of both answers.
func (s *Server) admit(ctx context.Context, who caller, about *object) (admission notifier.Admission, err error) {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	if who.account != nil {
		at, err := s.checkAccount(ctx, who.account)
		if err != nil {
			return notifier.Admission{}, err
		}
		defer func() { admission.At = at }()
	}
	if who.unrestricted() {
		return notifier.Admission{Exists: true, MayRead: true}, nil
	}
	var o object
	if about != nil {
		o = *about
	}
	admission, err = s.config.Store.Admit(ctx, who.User, o.eventType, o.key)
	switch {
	case err != nil:
		s.config.Logger.Error("policy failed", "user", who.User, "error", err)
		return admission, errUnavailable
	case !admission.Exists:
		return admission, errNoUser
	}
	return admission, nil
}

// callerKey is where a request's context keeps its caller.
type callerKey struct{}

// teller answers a request that is refused, in its protocol's words.
type teller func(w http.ResponseWriter, status int, why string)

// requires lets only callers with a role through.
func (s *Server) requires(role auth.Role, tell teller) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := s.authenticate(r)
			switch {
			case err != nil:
				s.unauthorized(w, err, tell)
			case !who.Roles.Has(role):
				s.refusals.note(RefusedNoRole)
				tell(w, http.StatusForbidden, "the token's user lacks the role "+string(role))
			default:
				next.ServeHTTP(w, withCaller(r, who))
			}
		})
	}
}

// withCaller returns a request that is known to come from that caller.
func withCaller(r *http.Request, who caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
}

// callerIn returns who sends the request of a context, once that is known.
func callerIn(ctx context.Context) (who caller, known bool) {
	who, known = ctx.Value(callerKey{}).(caller)
	return who, known
}

// requester returns the user who makes a request that has passed requires.
func requester(r *http.Request) string {
	who, _ := callerIn(r.Context())
	return who.User
}

// unauthorized answers a request without a credential that is any good
// (RFC 6750, 3), or one whose credential can't be looked at now.
func (s *Server) unauthorized(w http.ResponseWriter, err error, tell teller) {
	s.refusals.noteError(err)
	if errors.Is(err, errUnavailable) {
		tell(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	challenge := `Bearer`
	if errors.Is(err, errBadToken) {
		challenge = `Bearer error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	tell(w, http.StatusUnauthorized, err.Error())
}
