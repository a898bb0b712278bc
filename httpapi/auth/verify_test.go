package auth_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

func asTokenError(err error) (*auth.TokenError, bool) { return errors.AsType[*auth.TokenError](err) }

// These are the tokens that somebody sends who should not be let in, and those
// of people who should.
func TestVerifier_Verdicts(t *testing.T) {
	t.Parallel()
	k := testKeys()
	secret := auth.Config{Secret: k.secret}
	public := auth.Config{PublicKeyFile: file(t, publicPEM(t, k.rsa))}
	strict := auth.Config{Secret: k.secret, Issuer: "https://issuer", Audience: "notifier", Leeway: 30 * time.Second}
	hs := func(header, changes claims) string { return sign(t, "HS256", k.secret, header, standard(changes)) }
	rs := func(header, changes claims) string { return sign(t, "RS256", k.rsa, header, standard(changes)) }
	strictly := func(changes claims) string {
		c := standard(claims{"iss": "https://issuer", "aud": "notifier"})
		maps.Copy(c, changes)
		return sign(t, "HS256", k.secret, nil, c)
	}
	raw := func(payload string) string {
		return signRaw(t, "HS256", k.secret, `{"alg":"HS256"}`, payload)
	}
	der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	none := func(alg string) string {
		return encode(`{"alg":"`+alg+`"}`) + "." + encode(`{"sub":"alice","exp":9999999999}`) + "."
	}
	good := hs(nil, nil)
	parts := strings.Split(good, ".")

	for _, test := range []struct {
		name   string
		config auth.Config
		token  string
		want   auth.Reason
	}{
		{"good", secret, good, ""},
		{"good with a public key", public, rs(nil, nil), ""},
		{"without iat", secret, hs(nil, claims{"iat": nil}), ""},
		{"with another kid than a key without one", public, rs(claims{"kid": "whatever"}, nil), ""},

		{"HS256 with the public PEM as secret", public, sign(t, "HS256", []byte(publicPEM(t, k.rsa)), nil, standard(nil)), auth.ReasonAlgorithm},
		{"HS256 with the trimmed public PEM", public, sign(t, "HS256", []byte(strings.TrimSpace(publicPEM(t, k.rsa))), nil, standard(nil)), auth.ReasonAlgorithm},
		{"HS256 with the public DER", public, sign(t, "HS256", der, nil, standard(nil)), auth.ReasonAlgorithm},
		{"HS256 with the empty secret", public, sign(t, "HS256", []byte{}, nil, standard(nil)), auth.ReasonAlgorithm},
		{"RS256 where there is a secret", secret, rs(nil, nil), auth.ReasonAlgorithm},
		{"HS512 where HS256 is configured", secret, sign(t, "HS512", k.secret, nil, standard(nil)), auth.ReasonAlgorithm},
		{"PS256 where RS256 is configured", public, sign(t, "PS256", k.rsa, nil, standard(nil)), auth.ReasonAlgorithm},
		{"none", secret, none("none"), auth.ReasonAlgorithm},
		{"None", secret, none("None"), auth.ReasonAlgorithm},
		{"nOnE", public, none("nOnE"), auth.ReasonAlgorithm},
		{"none with a good signature", secret, signRaw(t, "HS256", k.secret, `{"alg":"none"}`, `{"sub":"a","exp":9999999999}`), auth.ReasonAlgorithm},
		{"lower-case alg", secret, signRaw(t, "HS256", k.secret, `{"alg":"hs256"}`, `{"sub":"a","exp":9999999999}`), auth.ReasonAlgorithm},
		{"no alg", secret, signRaw(t, "HS256", k.secret, `{}`, `{"sub":"a","exp":9999999999}`), auth.ReasonAlgorithm},
		{"alg a number", secret, signRaw(t, "HS256", k.secret, `{"alg":1}`, `{"sub":"a","exp":9999999999}`), auth.ReasonAlgorithm},
		{"alg twice", secret, signRaw(t, "HS256", k.secret, `{"alg":"none","alg":"HS256"}`, `{"sub":"a","exp":9999999999}`), auth.ReasonClaims},

		{"of another key", public, sign(t, "RS256", k.otherRSA, nil, standard(nil)), auth.ReasonSignature},
		{"of another secret", secret, sign(t, "HS256", []byte("another secret"), nil, standard(nil)), auth.ReasonSignature},
		{"without signature", secret, parts[0] + "." + parts[1] + ".", auth.ReasonSignature},
		{"claims of another token", secret, parts[0] + "." + strings.Split(hs(nil, claims{"sub": "bob"}), ".")[1] + "." + parts[2], auth.ReasonSignature},
		{"detached", secret, parts[0] + ".." + parts[2], auth.ReasonMalformed},

		{"with a key of its own", public, sign(t, "RS256", k.otherRSA, claims{"jwk": jwk(t, "x", k.otherRSA, nil)}, standard(nil)), auth.ReasonSignature},
		{"with a key set of its own", public, sign(t, "RS256", k.otherRSA, claims{"jku": "http://127.0.0.1:1/", "kid": "x"}, standard(nil)), auth.ReasonSignature},
		{"with a certificate of its own", public, sign(t, "RS256", k.otherRSA, claims{"x5u": "http://127.0.0.1:1/", "x5c": []string{"MII="}}, standard(nil)), auth.ReasonSignature},
		{"with another key beside a good signature", public, rs(claims{"jwk": jwk(t, "x", k.otherRSA, nil)}, nil), ""},
		{"critical header", secret, hs(claims{"crit": []string{"exp"}}, nil), auth.ReasonCritical},
		{"unencoded payload", secret, hs(claims{"crit": []string{"b64"}, "b64": false}, nil), auth.ReasonCritical},
		{"kid a number", secret, hs(claims{"kid": 1}, nil), auth.ReasonMalformed},

		{"expired", secret, hs(nil, claims{"exp": in(0)}), auth.ReasonExpired},
		{"a second before", secret, hs(nil, claims{"exp": in(time.Second)}), ""},
		{"expired within leeway", strict, strictly(claims{"exp": in(-29 * time.Second)}), ""},
		{"expired beyond leeway", strict, strictly(claims{"exp": in(-30 * time.Second)}), auth.ReasonExpired},
		{"not yet valid", secret, hs(nil, claims{"nbf": in(time.Second)}), auth.ReasonNotYetValid},
		{"valid from now", secret, hs(nil, claims{"nbf": in(0)}), ""},
		{"not yet valid within leeway", strict, strictly(claims{"nbf": in(30 * time.Second)}), ""},
		{"not yet valid beyond leeway", strict, strictly(claims{"nbf": in(31 * time.Second)}), auth.ReasonNotYetValid},
		{"issued in the future", secret, hs(nil, claims{"iat": in(time.Second)}), auth.ReasonFuture},
		{"issued in the future within leeway", strict, strictly(claims{"iat": in(30 * time.Second)}), ""},
		{"issued in the future beyond leeway", strict, strictly(claims{"iat": in(31 * time.Second)}), auth.ReasonFuture},
		{"without exp", secret, hs(nil, claims{"exp": nil}), auth.ReasonClaims},
		{"exp zero", secret, hs(nil, claims{"exp": 0}), auth.ReasonClaims},
		{"exp a string", secret, hs(nil, claims{"exp": "9999999999"}), auth.ReasonClaims},
		{"exp null", secret, raw(`{"sub":"a","exp":null}`), auth.ReasonClaims},
		{"exp beyond numbers", secret, raw(`{"sub":"a","exp":1e999}`), auth.ReasonMalformed},
		{"nbf beyond time", secret, hs(nil, claims{"nbf": 1e300}), auth.ReasonClaims},
		{"nbf before time", secret, hs(nil, claims{"nbf": -1e300}), auth.ReasonClaims},

		{"issuer and audience", strict, strictly(nil), ""},
		{"wrong issuer", strict, strictly(claims{"iss": "https://issuer/"}), auth.ReasonIssuer},
		{"issuer a list", strict, strictly(claims{"iss": []string{"https://issuer"}}), auth.ReasonClaims},
		{"no issuer", strict, sign(t, "HS256", k.secret, nil, standard(claims{"aud": "notifier"})), auth.ReasonClaims},
		{"wrong audience", strict, strictly(claims{"aud": "other"}), auth.ReasonAudience},
		{"audience in a list", strict, strictly(claims{"aud": []string{"other", "notifier"}}), ""},
		{"audience not in the list", strict, strictly(claims{"aud": []string{"other"}}), auth.ReasonAudience},
		{"audience list empty", strict, strictly(claims{"aud": []string{}}), auth.ReasonClaims},
		{"audience a number", strict, strictly(claims{"aud": 1}), auth.ReasonClaims},
		{"audience list with a number", strict, strictly(claims{"aud": []any{"notifier", 1}}), auth.ReasonClaims},
		{"audience of others, unchecked", secret, hs(nil, claims{"aud": "other"}), ""},

		{"user missing", secret, hs(nil, claims{"sub": nil}), auth.ReasonUser},
		{"user empty", secret, hs(nil, claims{"sub": ""}), auth.ReasonUser},
		{"user a number", secret, hs(nil, claims{"sub": 7}), auth.ReasonUser},
		{"user a list", secret, hs(nil, claims{"sub": []string{"alice"}}), auth.ReasonUser},
		{"user null", secret, raw(`{"sub":null,"exp":9999999999}`), auth.ReasonUser},
		{"user with NUL", secret, hs(nil, claims{"sub": "a\x00b"}), auth.ReasonUser},
		{"user of 256 bytes", secret, hs(nil, claims{"sub": strings.Repeat("ä", 128)}), ""},
		{"user of 257 bytes", secret, hs(nil, claims{"sub": strings.Repeat("a", 257)}), auth.ReasonUser},
		{"user with half a surrogate", secret, raw(`{"sub":"a\ud800","exp":9999999999}`), auth.ReasonUser},
		{"user twice", secret, raw(`{"sub":"alice","sub":"root","exp":9999999999}`), auth.ReasonClaims},
		{"user twice, once escaped", secret, raw(`{"sub":"alice","\u0073ub":"root","exp":9999999999}`), auth.ReasonClaims},
		{"nested name twice", secret, raw(`{"sub":"alice","exp":9999999999,"a":[{"b":1,"b":2}]}`), auth.ReasonClaims},
		{"the same name at two levels", secret, raw(`{"sub":"alice","exp":9999999999,"a":{"sub":"x","a":["sub","sub"]}}`), ""},
		{"bad UTF-8 in the user", secret, raw("{\"sub\":\"al\xffice\",\"exp\":9999999999}"), auth.ReasonMalformed},
		{"bad UTF-8 elsewhere", secret, raw("{\"sub\":\"alice\",\"x\":\"\xc3\x28\",\"exp\":9999999999}"), auth.ReasonMalformed},

		{"claims a list", secret, raw(`[]`), auth.ReasonMalformed},
		{"claims null", secret, raw(`null`), auth.ReasonClaims},
		{"claims with something behind", secret, raw(`{"sub":"a","exp":9999999999} {}`), auth.ReasonMalformed},
		{"claims empty", secret, raw(``), auth.ReasonMalformed},
		{"claims nested deep", secret, raw(strings.Repeat("[", 11_000)), auth.ReasonMalformed},
		{"header no JSON", secret, signRaw(t, "HS256", k.secret, `alg`, `{}`), auth.ReasonMalformed},
		{"header null", secret, signRaw(t, "HS256", k.secret, `null`, `{}`), auth.ReasonAlgorithm},

		{"one part", secret, "token", auth.ReasonMalformed},
		{"two parts", secret, parts[0] + "." + parts[1], auth.ReasonMalformed},
		{"four parts", secret, good + ".x", auth.ReasonMalformed},
		{"five parts, as if encrypted", secret, good + ".x.y", auth.ReasonMalformed},
		{"dots", secret, "..", auth.ReasonMalformed},
		{"padded", secret, good + "=", auth.ReasonMalformed},
		{"with a line break", secret, good[:10] + "\n" + good[10:], auth.ReasonMalformed},
		{"with a blank before", secret, " " + good, auth.ReasonMalformed},
		{"standard base64", secret, strings.NewReplacer("-", "+", "_", "/").Replace(good + "-"), auth.ReasonMalformed},
		{"bytes", secret, "\x00\xff\xfe", auth.ReasonMalformed},
		{"a session of ours", secret, "ntf1_AAAA", auth.ReasonMalformed},
		{"16 KiB", secret, hs(nil, claims{"x": strings.Repeat("x", 12_000)}), ""},
		{"more than 16 KiB", secret, hs(nil, claims{"x": strings.Repeat("x", 13_000)}), auth.ReasonLength},
		{"1 MB", secret, hs(nil, claims{"x": strings.Repeat("x", 1_000_000)}), auth.ReasonLength},
		{"1 MB of dots", secret, strings.Repeat(".", 1_000_000), auth.ReasonLength},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := newVerifier(t, test.config).Verify(t.Context(), test.token)
			wantReason(t, err, test.want)
			if test.want != "" && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
		})
	}
}

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
