package auth

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is what a [Verifier] and an [Issuer] are made from. Zero means the
// default. At least one key is needed: a Verifier takes them from Secret,
// PublicKeyFile, JWKSFile and JWKSURL, from several at once if they are given;
// an Issuer from PrivateKeyFile or else Secret.
type Config struct {
	// Secret is shared with who signs tokens (HS256, HS384, HS512): at least as
	// long as the algorithm's hash, 32, 48 or 64 bytes. Setting: jwt-secret.
	Secret []byte
	// PublicKeyFile holds one or more PEM blocks, public keys or certificates
	// (of which only the key counts). It is read again when it changes.
	// Setting: jwt-public-key.
	PublicKeyFile string
	// PrivateKeyFile is a PEM file with the key to sign with; only an Issuer
	// reads it. Setting: jwt-private-key.
	PrivateKeyFile string
	// JWKSURL and JWKSFile are where a JSON Web Key Set is. Secrets in it are
	// left out. Settings: jwks-url, jwks-file.
	JWKSURL  string
	JWKSFile string

	// Algorithms are those accepted; default: the one its set names for a key,
	// else HS256 for a secret, RS256 for an RSA key, the curve's for an ECDSA
	// key, EdDSA for Ed25519. The RS and PS of other sizes must be named.
	// Setting: jwt-algorithms.
	Algorithms []string
	// Issuer must be the token's iss; default: it is not checked. Setting:
	// jwt-issuer.
	Issuer string
	// Audience must be the token's aud or one of them; default: it is not
	// checked, and tokens that were made for other services are accepted too.
	// Setting: jwt-audience.
	Audience string
	// Leeway is how much clocks may differ, at most 10 minutes; default: not at
	// all. Setting: jwt-leeway.
	Leeway time.Duration
	// UserClaim and RolesClaim are the claims with the user's id and roles:
	// a claim of that name or, with dots, the path to it; default: sub and
	// roles. Roles are an array, or one string with blanks between them.
	// Settings: jwt-user-claim, jwt-roles-claim.
	UserClaim  string
	RolesClaim string

	// FileInterval is how often files are read again, default 10 s;
	// URLInterval how often the URL is, default 15 minutes.
	FileInterval time.Duration
	URLInterval  time.Duration
	// UnknownKeyInterval is the least time between two refreshes for the sake
	// of tokens with unknown key ids; default 5 s.
	UnknownKeyInterval time.Duration
	// HTTPClient fetches JWKSURL; default: one with a timeout that does not
	// follow a redirect from https to http.
	HTTPClient *http.Client
	// Clock tells the time; default [time.Now].
	Clock func() time.Time
	// Logger takes what is worth telling; default: nothing is told.
	Logger *slog.Logger
}

const maxLeeway = 10 * time.Minute

// completed fills in the defaults and reports the problems that need no file
// read, each by the name of its setting.
func (c Config) completed() (Config, error) {
	c.UserClaim = orDefault(c.UserClaim, "sub")
	c.RolesClaim = orDefault(c.RolesClaim, "roles")
	c.FileInterval = orDefault(c.FileInterval, 10*time.Second)
	c.URLInterval = orDefault(c.URLInterval, 15*time.Minute)
	c.UnknownKeyInterval = orDefault(c.UnknownKeyInterval, 5*time.Second)
	c.Logger = orDefault(c.Logger, slog.New(slog.DiscardHandler))
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.HTTPClient = orDefault(c.HTTPClient, newHTTPClient())
	problems := []error{
		c.checkSecret(),
		c.checkURL(),
		checkClaimName("jwt-user-claim", c.UserClaim),
		checkClaimName("jwt-roles-claim", c.RolesClaim),
		checkInterval("file interval", c.FileInterval),
		checkInterval("url interval", c.URLInterval),
		checkInterval("unknown key interval", c.UnknownKeyInterval),
	}
	for _, algorithm := range c.Algorithms {
		if !slices.Contains(supported(), algorithm) {
			problems = append(problems, fmt.Errorf("jwt-algorithms: %q is not one of %s", algorithm, strings.Join(supported(), ", ")))
		}
	}
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		problems = append(problems, fmt.Errorf("jwt-leeway: %v is not between 0 and %v", c.Leeway, maxLeeway))
	}
	return c, errors.Join(problems...)
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

func checkInterval(name string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s is negative: %v", name, d)
	}
	return nil
}

// checkClaimName refuses the claims that have a meaning and a type already.
func checkClaimName(setting, name string) error {
	if slices.Contains([]string{"exp", "nbf", "iat", "aud"}, name) {
		return fmt.Errorf("%s: %s can't be it", setting, name)
	}
	if name != strings.Trim(name, ".") || strings.Contains(name, "..") {
		return fmt.Errorf("%s: %q has an empty part", setting, name)
	}
	return nil
}

// checkSecret refuses a secret that can be guessed, and one that everybody
// knows: a public key that went into the wrong setting.
func (c Config) checkSecret() error {
	if len(c.Secret) == 0 {
		return nil
	}
	if _, err := x509.ParsePKIXPublicKey(c.Secret); err == nil || bytes.Contains(c.Secret, []byte("-----BEGIN ")) {
		return errors.New("jwt-secret: this is a key pair's key, not a secret; a public one belongs into the file that jwt-public-key names")
	}
	for _, algorithm := range c.secretAlgorithms() {
		if need := secretSize(algorithm); len(c.Secret) < need {
			return fmt.Errorf("jwt-secret: %d bytes are too few, %s needs %d", len(c.Secret), algorithm, need)
		}
	}
	return nil
}

// secretAlgorithms returns those the secret is for.
func (c Config) secretAlgorithms() []string {
	if len(c.Algorithms) == 0 {
		return []string{"HS256"}
	}
	return slices.DeleteFunc(slices.Clone(c.Algorithms), func(a string) bool { return !isSecretAlgorithm(a) })
}

func (c Config) checkURL() error {
	if c.JWKSURL == "" {
		return nil
	}
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The error of url.Parse would repeat the URL, with a password in it.
		return errors.New("jwks-url: it is no http or https URL")
	}
	return nil
}

// hasPlainURL tells whether the key set comes over a network unprotected.
func (c Config) hasPlainURL() bool {
	u, err := url.Parse(c.JWKSURL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !address.IsLoopback())
}

// checkFit reports the secret and the algorithms which can't be used, because
// nothing that is configured goes with them. The keys are those of PEM files;
// more tells that there may be others.
func (c Config) checkFit(keys []key, more bool) error {
	var problems []error
	haveSet := c.JWKSURL != "" || c.JWKSFile != ""
	if len(c.Secret) == 0 && c.PublicKeyFile == "" && !haveSet {
		problems = append(problems, errors.New("jwt-secret, jwt-public-key, jwks-url, jwks-file: none is set, so no token could be verified"))
	}
	if len(c.Secret) > 0 && len(c.secretAlgorithms()) == 0 {
		problems = append(problems, errors.New("jwt-secret: none of jwt-algorithms uses it"))
	}
	for _, algorithm := range c.Algorithms {
		if p := c.checkAlgorithmFits(algorithm, keys, haveSet || more); p != nil {
			problems = append(problems, p)
		}
	}
	return errors.Join(problems...)
}

func (c Config) checkAlgorithmFits(algorithm string, keys []key, more bool) error {
	if isSecretAlgorithm(algorithm) {
		if len(c.Secret) == 0 {
			return fmt.Errorf("jwt-algorithms: %s needs jwt-secret, a public key is never used as one", algorithm)
		}
		return nil
	}
	fits := func(k key) bool { return slices.Contains(k.algorithms, algorithm) }
	if !more && !slices.ContainsFunc(keys, fits) && slices.Contains(supported(), algorithm) {
		return fmt.Errorf("jwt-algorithms: %s fits no key that is configured", algorithm)
	}
	return nil
}
