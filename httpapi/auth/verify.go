package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 16 << 10

// Verifier tells who sent a token. It is for use by many goroutines.
type Verifier struct {
	config  Config
	secret  []key // one or none
	sources []*source
	parser  *jwt.Parser

	turn   chan struct{} // held by who refreshes
	demand demand
}

// New returns a verifier after reading the files, or all problems of the
// configuration at once. The key set at a URL is fetched by [Verifier.Run]:
// an instance must be able to start while the identity provider can't.
func New(ctx context.Context, config Config) (*Verifier, error) {
	c, problem := config.completed()
	v := &Verifier{config: c, sources: c.sources(), parser: c.parser(), turn: make(chan struct{}, 1)}
	v.demand.wake = make(chan struct{}, 1)
	if algorithms := c.secretAlgorithms(); len(c.Secret) > 0 {
		v.secret = []key{{algorithms: algorithms, public: slices.Clone(c.Secret)}}
	}
	problems := []error{problem}
	problems = append(problems, v.refresh(ctx, func(s *source) bool { return !s.remote }))
	problems = append(problems, v.checkFiles())
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if c.hasPlainURL() {
		c.Logger.WarnContext(ctx, "jwks-url is plain http: who can change it on its way can sign tokens")
	}
	return v, nil
}

// checkFiles reports key sets without keys, and what nothing goes with. If a
// file couldn't be read, just that may be what goes.
func (v *Verifier) checkFiles() error {
	var problems []error
	unread := false
	for _, s := range v.sources {
		switch {
		case s.keys.Load() == nil:
			unread = true
		case len(s.loaded()) == 0:
			problems = append(problems, fmt.Errorf("%s: no key in it can be used", s.setting))
		}
	}
	return errors.Join(append(problems, v.config.checkFit(v.static(), unread))...)
}

// static returns the keys without key ids of sources without them.
func (v *Verifier) static() []key {
	keys := slices.Clone(v.secret)
	for _, s := range v.sources {
		if !s.ids {
			keys = append(keys, s.loaded()...)
		}
	}
	return keys
}

func (c Config) parser() *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(supported()), jwt.WithStrictDecoding(), jwt.WithTimeFunc(c.Clock),
		jwt.WithLeeway(c.Leeway), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithIssuer(c.Issuer),
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	return jwt.NewParser(options...)
}

// Verify returns whose token it is, or [ErrMissing], or a [TokenError]. It may
// wait some seconds for a refresh of the keys if the token's key is unknown;
// else it doesn't wait for anything, and garbage costs next to nothing.
func (v *Verifier) Verify(ctx context.Context, token string) (Identity, error) {
	switch {
	case token == "":
		return Identity{}, ErrMissing
	case len(token) > MaxToken:
		return Identity{}, invalid(ReasonLength)
	case !hasTokenShape(token):
		return Identity{}, invalid(ReasonMalformed)
	}
	identity, stale, err := v.check(token)
	if stale && v.demand.await(ctx, v.config.Clock(), v.config.UnknownKeyInterval) {
		identity, _, err = v.check(token)
	}
	return identity, err
}

// hasTokenShape looks for three parts of nothing but base64url: the library's
// decoder would skip line breaks.
func hasTokenShape(token string) bool {
	dots := 0
	for i := range len(token) {
		switch c := token[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

// check verifies a token with the keys there are. stale means that it failed
// for want of a key which a refresh might bring.
func (v *Verifier) check(token string) (identity Identity, stale bool, err error) {
	var choice choice
	claims := jwt.MapClaims{}
	parsed, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		var err error
		choice, err = v.choose(t)
		return choice.keys, err
	})
	if err != nil {
		reason := reasonOf(err, parsed)
		stale = choice.stale && (reason == ReasonKey || reason == ReasonSignature)
		return Identity{}, stale, invalid(reason)
	}
	identity, err = v.identify(token, claims)
	return identity, false, err
}

// reasonOf translates the library's error, the order being that of its checks.
func reasonOf(err error, t *jwt.Token) Reason {
	if ours, ok := errors.AsType[*TokenError](err); ok {
		return ours.Reason
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return ReasonMalformed
	case t.Method == nil, !slices.Contains(supported(), t.Method.Alg()):
		return ReasonAlgorithm // which the library calls a bad signature
	}
	for _, r := range []struct {
		err    error
		reason Reason
	}{
		{jwt.ErrTokenSignatureInvalid, ReasonSignature},
		{jwt.ErrTokenExpired, ReasonExpired},
		{jwt.ErrTokenNotValidYet, ReasonNotYetValid},
		{jwt.ErrTokenUsedBeforeIssued, ReasonFuture},
		{jwt.ErrTokenInvalidIssuer, ReasonIssuer},
		{jwt.ErrTokenInvalidAudience, ReasonAudience},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ReasonClaims
}

// identify reads the identity out of a token whose signature and times are
// good.
func (v *Verifier) identify(token string, claims jwt.MapClaims) (Identity, error) {
	if err := checkSegments(token); err != nil {
		return Identity{}, err
	}
	expires, err := expiry(claims)
	if err != nil {
		return Identity{}, err
	}
	user, ok := lookUp(claims, v.config.UserClaim).(string)
	if !ok || checkUser(user) != nil {
		return Identity{}, invalid(ReasonUser)
	}
	return Identity{
		User:        user,
		Roles:       rolesIn(lookUp(claims, v.config.RolesClaim)),
		Expires:     expires.Add(v.config.Leeway),
		Fingerprint: fingerprint(token),
	}, nil
}

func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// String says what the verifier accepts, for the log of a start.
func (v *Verifier) String() string {
	settings := make([]string, 0, len(v.sources)+1)
	if len(v.secret) > 0 {
		settings = append(settings, "jwt-secret")
	}
	for _, s := range v.sources {
		settings = append(settings, s.setting)
	}
	return fmt.Sprintf("tokens by %s", strings.Join(settings, ", "))
}

// Now returns the verifier's time, by which an identity has expired or not.
func (v *Verifier) Now() time.Time { return v.config.Clock() }
