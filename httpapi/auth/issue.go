package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer makes tokens that a [Verifier] of the same configuration takes.
type Issuer struct {
	config Config
	method jwt.SigningMethod
	key    any
}

// Grant is what a token is to say.
type Grant struct {
	User  string
	Roles Roles
	// TTL is how long the token is valid; whole seconds, at least one.
	TTL time.Duration
	// Extra are claims of the application's own, put beside ours.
	Extra map[string]any
}

// NewIssuer returns an issuer that signs with the private key, or with the
// secret if there is none. The algorithm is the first configured one that the
// key fits, or else the key's default.
func NewIssuer(config Config) (*Issuer, error) {
	c, problem := config.completed()
	if problem != nil {
		return nil, problem
	}
	key, public, err := c.signingKey()
	if err != nil {
		return nil, err
	}
	algorithms, err := bind(public, "", c.Algorithms)
	if err != nil {
		return nil, fmt.Errorf("choose algorithm: %w", err)
	}
	algorithm := algorithms[0]
	for _, preferred := range c.Algorithms {
		if slices.Contains(algorithms, preferred) {
			algorithm = preferred
			break
		}
	}
	return &Issuer{config: c, method: jwt.GetSigningMethod(algorithm), key: key}, nil
}

// signingKey returns what signs, and what tells its kind.
func (c Config) signingKey() (key, public any, err error) {
	if c.PrivateKeyFile == "" {
		if len(c.Secret) == 0 {
			return nil, nil, errors.New("jwt-secret, jwt-private-key: neither is set, so no token can be signed")
		}
		return c.Secret, c.Secret, nil
	}
	data, err := readPath(c.PrivateKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("jwt-private-key: %w", err)
	}
	signer, err := parsePrivatePEM(data)
	if err != nil {
		return nil, nil, fmt.Errorf("jwt-private-key: %w", err)
	}
	return signer, signer.Public(), nil
}

// Issue returns a token.
func (i *Issuer) Issue(g Grant) (string, error) {
	if err := checkUser(g.User); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	if g.TTL < time.Second {
		return "", fmt.Errorf("issue token: ttl %v is less than a second", g.TTL)
	}
	claims, err := i.claims(g)
	if err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	token, err := jwt.NewWithClaims(i.method, claims).SignedString(i.key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if len(token) > MaxToken {
		return "", fmt.Errorf("issue token: it has more than %d bytes", MaxToken)
	}
	return token, nil
}

func (i *Issuer) claims(g Grant) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	maps.Copy(claims, g.Extra)
	now := i.config.Clock()
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(g.TTL).Unix()
	claims["jti"] = rand.Text()
	if i.config.Issuer != "" {
		claims["iss"] = i.config.Issuer
	}
	if i.config.Audience != "" {
		claims["aud"] = i.config.Audience
	}
	if err := put(claims, i.config.UserClaim, g.User); err != nil {
		return nil, err
	}
	if g.Roles == 0 {
		return claims, nil
	}
	return claims, put(claims, i.config.RolesClaim, g.Roles.names())
}

// put sets a claim where lookUp finds it: a name with a slash is a URL and
// taken as a whole.
func put(claims map[string]any, name string, value any) error {
	first, rest, nested := strings.Cut(name, ".")
	if !nested || strings.Contains(name, "/") {
		if _, taken := claims[name]; taken {
			return fmt.Errorf("claim %q would be set twice", name)
		}
		claims[name] = value
		return nil
	}
	object, ok := claims[first].(map[string]any)
	if _, taken := claims[first]; taken && !ok {
		return fmt.Errorf("claim %q is no object, so it can't hold %q", first, rest)
	}
	object = maps.Clone(object)
	if object == nil {
		object = map[string]any{}
	}
	claims[first] = object
	return put(object, rest, value)
}
