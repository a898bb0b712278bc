package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// key is one key that may have signed tokens.
type key struct {
	// id is the token's kid that it answers to; empty: to any, and to none.
	id string
	// algorithms are those with which it is used. Nothing a token says adds to
	// them.
	algorithms []string
	// public is []byte (a secret), *rsa.PublicKey, *ecdsa.PublicKey or
	// ed25519.PublicKey: what the library's methods take, each refusing all
	// other types.
	public any
}

// supported lists the algorithms that may be configured.
func supported() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA",
	}
}

// isSecretAlgorithm tells the algorithms in which who verifies can also sign.
func isSecretAlgorithm(algorithm string) bool { return strings.HasPrefix(algorithm, "HS") }

// secretSize is the least length of a secret in bytes, that of the hash: RFC
// 7518, 3.2.
func secretSize(algorithm string) int {
	switch algorithm {
	case "HS384":
		return 48
	case "HS512":
		return 64
	}
	return 32
}

// capable returns the algorithms that a key could be used with, the default
// first, after checking that it is sound and of a size that is neither weak nor
// a burden.
func capable(public any) ([]string, error) {
	switch k := public.(type) {
	case []byte:
		return []string{"HS256", "HS384", "HS512"}, nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, fmt.Errorf("RSA key of %d bits is not between 2048 and 8192", bits)
		}
		if k.E < 3 || k.E%2 == 0 {
			return nil, errors.New("RSA key has an impossible exponent")
		}
		// PS256 would do as well, but one key should not serve two schemes
		// unless the operator says so.
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		return capableCurve(k)
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("key of type %T is not one for signatures", public)
}

// capableCurve binds each curve to its algorithm, which the library doesn't.
func capableCurve(k *ecdsa.PublicKey) ([]string, error) {
	if _, err := k.ECDH(); err != nil {
		return nil, errors.New("ECDSA key is not a point of P-256, P-384 or P-521")
	}
	switch bits := k.Curve.Params().BitSize; bits {
	case 256:
		return []string{"ES256"}, nil
	case 384:
		return []string{"ES384"}, nil
	default:
		return []string{"ES512"}, nil
	}
}

// bind returns the algorithms a key is used with: those it is capable of, only
// the one it was published for if it says that, and of these the configured
// ones or, without any, the default.
func bind(public any, published string, configured []string) ([]string, error) {
	algorithms, err := capable(public)
	if err != nil {
		return nil, err
	}
	if published != "" {
		if !slices.Contains(algorithms, published) {
			return nil, fmt.Errorf("key is published for %q, but of a kind for %s", published, algorithms[0])
		}
		algorithms = []string{published}
	}
	if len(configured) == 0 {
		return algorithms[:1:1], nil
	}
	algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return !slices.Contains(configured, a) })
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("key fits none of the configured algorithms, %s", strings.Join(configured, ", "))
	}
	return algorithms, nil
}
