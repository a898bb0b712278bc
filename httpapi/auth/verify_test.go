package auth_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"example.com/notifier/httpapi/auth"
)

func asTokenError(err error) (*auth.TokenError, bool) { return errors.AsType[*auth.TokenError](err) }

func TestVerifier_TellsAMissingTokenFromABadOne(t *testing.T) {
	t.Parallel()
	_, err := newVerifier(t, auth.Config{Secret: testKeys().secret}).Verify(t.Context(), "")
	if !errors.Is(err, auth.ErrMissing) || errors.Is(err, auth.ErrInvalid) {
		t.Errorf("no token: %v", err)
	}
}

// Nothing less than the whole token is the token, and nothing else either.
func TestVerifier_RefusesEveryPrefixAndEveryChange(t *testing.T) {
	t.Parallel()
	k := testKeys()
	for name, test := range map[string]struct {
		config auth.Config
		token  string
	}{
		"HS256": {auth.Config{Secret: k.secret}, sign(t, "HS256", k.secret, nil, standard(nil))},
		"ES256": {auth.Config{PublicKeyFile: file(t, publicPEM(t, k.p256))}, sign(t, "ES256", k.p256, nil, standard(nil))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, test.config)
			if _, err := v.Verify(t.Context(), test.token); err != nil {
				t.Fatal(err)
			}
			for i := range len(test.token) {
				if _, err := v.Verify(t.Context(), test.token[:i]); err == nil {
					t.Errorf("the first %d bytes are taken", i)
				}
				changed := []byte(test.token)
				changed[i] = 'A' + (changed[i]+1)%26
				if changed[i] == test.token[i] {
					changed[i]++
				}
				if _, err := v.Verify(t.Context(), string(changed)); err == nil {
					t.Errorf("byte %d may be %q instead of %q", i, changed[i], test.token[i])
				}
			}
		})
	}
}

func TestVerifier_TakesEveryAlgorithm(t *testing.T) {
	t.Parallel()
	k := testKeys()
	pems := file(t, publicPEM(t, k.rsa, k.p256, k.p384, k.p521, k.ed))
	all := []struct {
		name string
		key  any
	}{
		{"HS256", k.secret}, {"HS384", k.secret}, {"HS512", k.secret},
		{"RS256", k.rsa}, {"RS384", k.rsa}, {"RS512", k.rsa}, {"PS256", k.rsa}, {"PS384", k.rsa}, {"PS512", k.rsa},
		{"ES256", k.p256}, {"ES384", k.p384}, {"ES512", k.p521}, {"EdDSA", k.ed},
	}
	for _, configured := range all {
		c := auth.Config{Algorithms: []string{configured.name}}
		if strings.HasPrefix(configured.name, "HS") {
			c.Secret = k.secret
		} else {
			c.JWKSFile = file(t, jwks(t, jwk(t, "r", k.rsa, nil), jwk(t, "2", k.p256, nil), jwk(t, "3", k.p384, nil), jwk(t, "5", k.p521, nil), jwk(t, "d", k.ed, nil)))
		}
		v := newVerifier(t, c)
		for _, used := range all {
			_, err := v.Verify(t.Context(), sign(t, used.name, used.key, nil, standard(nil)))
			if (err == nil) != (used.name == configured.name) {
				t.Errorf("configured %s, used %s: %v", configured.name, used.name, err)
			}
		}
	}
	t.Run("several", func(t *testing.T) {
		v := newVerifier(t, auth.Config{Secret: k.secret, PublicKeyFile: pems, Algorithms: []string{"HS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}})
		for _, used := range all {
			_, err := v.Verify(t.Context(), sign(t, used.name, used.key, nil, standard(nil)))
			if (err == nil) != strings.Contains("HS384 PS512 ES256 ES384 ES512 EdDSA", used.name) {
				t.Errorf("used %s: %v", used.name, err)
			}
		}
	})
}

// A key set's keys are found by id; a token without one must be unambiguous.
func TestVerifier_ChoosesKeysByID(t *testing.T) {
	t.Parallel()
	k := testKeys()
	two := jwks(t, jwk(t, "a", k.rsa, claims{"use": "sig", "alg": "RS256"}), jwk(t, "b", k.otherRSA, nil), jwk(t, "c", k.p256, nil))
	for _, test := range []struct {
		name   string
		set    string
		header claims
		alg    string
		key    any
		want   auth.Reason
	}{
		{"right", two, claims{"kid": "a"}, "RS256", k.rsa, ""},
		{"wrong", two, claims{"kid": "b"}, "RS256", k.rsa, auth.ReasonSignature},
		{"unknown", two, claims{"kid": "z"}, "RS256", k.rsa, auth.ReasonKey},
		{"empty where several fit", two, claims{"kid": ""}, "RS256", k.rsa, auth.ReasonKey},
		{"missing where several fit", two, nil, "RS256", k.rsa, auth.ReasonKey},
		{"missing where one fits", two, nil, "ES256", k.p256, ""},
		{"of a key of another kind", two, claims{"kid": "c"}, "RS256", k.rsa, auth.ReasonAlgorithm},
		{"of a key for another algorithm", two, claims{"kid": "a"}, "PS256", k.rsa, auth.ReasonAlgorithm},
		{"of a path", two, claims{"kid": "../../etc/passwd"}, "RS256", k.rsa, auth.ReasonKey},
		{"HS256 with its id as secret", two, claims{"kid": "a"}, "HS256", []byte("a"), auth.ReasonAlgorithm},
		{"a set whose key has no id", jwks(t, jwk(t, "", k.rsa, nil)), claims{"kid": "x"}, "RS256", k.rsa, ""},
		{"one id for two kinds", jwks(t, jwk(t, "a", k.p256, nil), jwk(t, "a", k.rsa, nil)), claims{"kid": "a"}, "RS256", k.rsa, ""},
		{"published for PS256", jwks(t, jwk(t, "a", k.rsa, claims{"alg": "PS256"})), claims{"kid": "a"}, "PS256", k.rsa, ""},
		{"private halves in the set", jwks(t, jwk(t, "a", k.p256, claims{"d": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})), claims{"kid": "a"}, "ES256", k.p256, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, auth.Config{JWKSFile: file(t, test.set)})
			_, err := v.Verify(t.Context(), sign(t, test.alg, test.key, test.header, standard(nil)))
			wantReason(t, err, test.want)
		})
	}
}
