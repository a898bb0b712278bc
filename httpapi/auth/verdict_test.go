package auth_test

import (
	"crypto/x509"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// These are the tokens that somebody sends who should not be let in, and those
// of people who should.

// forge makes the tokens of the verdicts below.
type forge struct {
	*testing.T
	keys
	secret, public, strict auth.Config
}

func newForge(t *testing.T) forge {
	k := testKeys()
	return forge{
		T: t, keys: k, secret: auth.Config{Secret: k.secret}, public: auth.Config{PublicKeyFile: file(t, publicPEM(t, k.rsa))},
		strict: auth.Config{Secret: k.secret, Issuer: "https://issuer", Audience: "notifier", Leeway: 30 * time.Second},
	}
}

func (f forge) hs(header, changes claims) string {
	return sign(f, "HS256", f.keys.secret, header, standard(changes))
}

func (f forge) rs(header, changes claims) string {
	return sign(f, "RS256", f.rsa, header, standard(changes))
}

// strictly returns a token with the issuer and audience of the strict verifier.
func (f forge) strictly(changes claims) string {
	c := standard(claims{"iss": "https://issuer", "aud": "notifier"})
	maps.Copy(c, changes)
	return sign(f, "HS256", f.keys.secret, nil, c)
}

func (f forge) raw(payload string) string {
	return signRaw(f, "HS256", f.keys.secret, `{"alg":"HS256"}`, payload)
}

// header returns a token with any header, signed with HS256.
func (f forge) header(header string) string {
	return signRaw(f, "HS256", f.keys.secret, header, `{"sub":"a","exp":9999999999}`)
}

func (f forge) none(alg string) string {
	return encode(`{"alg":"`+alg+`"}`) + "." + encode(`{"sub":"alice","exp":9999999999}`) + "."
}

// withSecret returns a token signed with HS256 and what somebody hopes to be
// the secret.
func (f forge) withSecret(secret []byte) string {
	return sign(f, "HS256", secret, nil, standard(nil))
}

type verdict struct {
	name   string
	config auth.Config
	token  string
	want   auth.Reason
}

// check verifies every token in a verifier of its own.
func (f forge) check(verdicts []verdict) {
	for _, v := range verdicts {
		f.Run(v.name, func(t *testing.T) {
			t.Parallel()
			_, err := newVerifier(t, v.config).Verify(t.Context(), v.token)
			wantReason(t, err, v.want)
			if v.want != "" && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
		})
	}
}

func TestVerifier_Good(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"good", f.secret, f.hs(nil, nil), ""},
		{"good with a public key", f.public, f.rs(nil, nil), ""},
		{"without iat", f.secret, f.hs(nil, claims{"iat": nil}), ""},
		{"with another kid than a key without one", f.public, f.rs(claims{"kid": "whatever"}, nil), ""},
	})
}

func TestVerifier_ForgedAlgorithms(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	public := publicPEM(t, f.rsa)
	der, err := x509.MarshalPKIXPublicKey(f.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	f.check([]verdict{
		{"HS256 with the public PEM as secret", f.public, f.withSecret([]byte(public)), auth.ReasonAlgorithm},
		{"HS256 with the trimmed public PEM", f.public, f.withSecret([]byte(strings.TrimSpace(public))), auth.ReasonAlgorithm},
		{"HS256 with the public DER", f.public, f.withSecret(der), auth.ReasonAlgorithm},
		{"HS256 with the empty secret", f.public, f.withSecret([]byte{}), auth.ReasonAlgorithm},
		{"RS256 where there is a secret", f.secret, f.rs(nil, nil), auth.ReasonAlgorithm},
		{"HS512 where HS256 is configured", f.secret, sign(t, "HS512", f.keys.secret, nil, standard(nil)), auth.ReasonAlgorithm},
		{"PS256 where RS256 is configured", f.public, sign(t, "PS256", f.rsa, nil, standard(nil)), auth.ReasonAlgorithm},
		{"none", f.secret, f.none("none"), auth.ReasonAlgorithm},
		{"None", f.secret, f.none("None"), auth.ReasonAlgorithm},
		{"nOnE", f.public, f.none("nOnE"), auth.ReasonAlgorithm},
		{"none with a good signature", f.secret, f.header(`{"alg":"none"}`), auth.ReasonAlgorithm},
		{"lower-case alg", f.secret, f.header(`{"alg":"hs256"}`), auth.ReasonAlgorithm},
		{"no alg", f.secret, f.header(`{}`), auth.ReasonAlgorithm},
		{"alg a number", f.secret, f.header(`{"alg":1}`), auth.ReasonAlgorithm},
		{"alg twice", f.secret, f.header(`{"alg":"none","alg":"HS256"}`), auth.ReasonClaims},
	})
}

func TestVerifier_ForgedSignatures(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	parts := strings.Split(f.hs(nil, nil), ".")
	f.check([]verdict{
		{"of another key", f.public, sign(t, "RS256", f.otherRSA, nil, standard(nil)), auth.ReasonSignature},
		{"of another secret", f.secret, f.withSecret([]byte("another secret")), auth.ReasonSignature},
		{"without signature", f.secret, parts[0] + "." + parts[1] + ".", auth.ReasonSignature},
		{"claims of another token", f.secret, parts[0] + "." + strings.Split(f.hs(nil, claims{"sub": "bob"}), ".")[1] + "." + parts[2], auth.ReasonSignature},
		{"detached", f.secret, parts[0] + ".." + parts[2], auth.ReasonMalformed},
	})
}

func TestVerifier_Headers(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"with a key of its own", f.public, sign(t, "RS256", f.otherRSA, claims{"jwk": jwk(t, "x", f.otherRSA, nil)}, standard(nil)), auth.ReasonSignature},
		{"with a key set of its own", f.public, sign(t, "RS256", f.otherRSA, claims{"jku": "http://127.0.0.1:1/", "kid": "x"}, standard(nil)), auth.ReasonSignature},
		{"with a certificate of its own", f.public, sign(t, "RS256", f.otherRSA, claims{"x5u": "http://127.0.0.1:1/", "x5c": []string{"MII="}}, standard(nil)), auth.ReasonSignature},
		{"with another key beside a good signature", f.public, f.rs(claims{"jwk": jwk(t, "x", f.otherRSA, nil)}, nil), ""},
		{"critical header", f.secret, f.hs(claims{"crit": []string{"exp"}}, nil), auth.ReasonCritical},
		{"unencoded payload", f.secret, f.hs(claims{"crit": []string{"b64"}, "b64": false}, nil), auth.ReasonCritical},
		{"kid a number", f.secret, f.hs(claims{"kid": 1}, nil), auth.ReasonMalformed},
	})
}

func TestVerifier_Times(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"expired", f.secret, f.hs(nil, claims{"exp": in(0)}), auth.ReasonExpired},
		{"a second before", f.secret, f.hs(nil, claims{"exp": in(time.Second)}), ""},
		{"expired within leeway", f.strict, f.strictly(claims{"exp": in(-29 * time.Second)}), ""},
		{"expired beyond leeway", f.strict, f.strictly(claims{"exp": in(-30 * time.Second)}), auth.ReasonExpired},
		{"not yet valid", f.secret, f.hs(nil, claims{"nbf": in(time.Second)}), auth.ReasonNotYetValid},
		{"valid from now", f.secret, f.hs(nil, claims{"nbf": in(0)}), ""},
		{"not yet valid within leeway", f.strict, f.strictly(claims{"nbf": in(30 * time.Second)}), ""},
		{"not yet valid beyond leeway", f.strict, f.strictly(claims{"nbf": in(31 * time.Second)}), auth.ReasonNotYetValid},
		{"issued in the future", f.secret, f.hs(nil, claims{"iat": in(time.Second)}), auth.ReasonFuture},
		{"issued in the future within leeway", f.strict, f.strictly(claims{"iat": in(30 * time.Second)}), ""},
		{"issued in the future beyond leeway", f.strict, f.strictly(claims{"iat": in(31 * time.Second)}), auth.ReasonFuture},
		{"without exp", f.secret, f.hs(nil, claims{"exp": nil}), auth.ReasonClaims},
		{"exp zero", f.secret, f.hs(nil, claims{"exp": 0}), auth.ReasonClaims},
		{"exp a string", f.secret, f.hs(nil, claims{"exp": "9999999999"}), auth.ReasonClaims},
		{"exp null", f.secret, f.raw(`{"sub":"a","exp":null}`), auth.ReasonClaims},
		{"exp beyond numbers", f.secret, f.raw(`{"sub":"a","exp":1e999}`), auth.ReasonMalformed},
		{"nbf beyond time", f.secret, f.hs(nil, claims{"nbf": 1e300}), auth.ReasonClaims},
		{"nbf before time", f.secret, f.hs(nil, claims{"nbf": -1e300}), auth.ReasonClaims},
	})
}

func TestVerifier_IssuersAndAudiences(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"issuer and audience", f.strict, f.strictly(nil), ""},
		{"wrong issuer", f.strict, f.strictly(claims{"iss": "https://issuer/"}), auth.ReasonIssuer},
		{"issuer a list", f.strict, f.strictly(claims{"iss": []string{"https://issuer"}}), auth.ReasonClaims},
		{"no issuer", f.strict, sign(t, "HS256", f.keys.secret, nil, standard(claims{"aud": "notifier"})), auth.ReasonClaims},
		{"wrong audience", f.strict, f.strictly(claims{"aud": "other"}), auth.ReasonAudience},
		{"audience in a list", f.strict, f.strictly(claims{"aud": []string{"other", "notifier"}}), ""},
		{"audience not in the list", f.strict, f.strictly(claims{"aud": []string{"other"}}), auth.ReasonAudience},
		{"audience list empty", f.strict, f.strictly(claims{"aud": []string{}}), auth.ReasonClaims},
		{"audience a number", f.strict, f.strictly(claims{"aud": 1}), auth.ReasonClaims},
		{"audience list with a number", f.strict, f.strictly(claims{"aud": []any{"notifier", 1}}), auth.ReasonClaims},
		{"audience of others, unchecked", f.secret, f.hs(nil, claims{"aud": "other"}), ""},
	})
}

func TestVerifier_Users(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"user missing", f.secret, f.hs(nil, claims{"sub": nil}), auth.ReasonUser},
		{"user empty", f.secret, f.hs(nil, claims{"sub": ""}), auth.ReasonUser},
		{"user a number", f.secret, f.hs(nil, claims{"sub": 7}), auth.ReasonUser},
		{"user a list", f.secret, f.hs(nil, claims{"sub": []string{"alice"}}), auth.ReasonUser},
		{"user null", f.secret, f.raw(`{"sub":null,"exp":9999999999}`), auth.ReasonUser},
		{"user with NUL", f.secret, f.hs(nil, claims{"sub": "a\x00b"}), auth.ReasonUser},
		{"user of 256 bytes", f.secret, f.hs(nil, claims{"sub": strings.Repeat("ä", 128)}), ""},
		{"user of 257 bytes", f.secret, f.hs(nil, claims{"sub": strings.Repeat("a", 257)}), auth.ReasonUser},
		{"user with half a surrogate", f.secret, f.raw(`{"sub":"a\ud800","exp":9999999999}`), auth.ReasonUser},
		{"user twice", f.secret, f.raw(`{"sub":"alice","sub":"root","exp":9999999999}`), auth.ReasonClaims},
		{"user twice, once escaped", f.secret, f.raw(`{"sub":"alice","\u0073ub":"root","exp":9999999999}`), auth.ReasonClaims},
		{"nested name twice", f.secret, f.raw(`{"sub":"alice","exp":9999999999,"a":[{"b":1,"b":2}]}`), auth.ReasonClaims},
		{"the same name at two levels", f.secret, f.raw(`{"sub":"alice","exp":9999999999,"a":{"sub":"x","a":["sub","sub"]}}`), ""},
		{"bad UTF-8 in the user", f.secret, f.raw("{\"sub\":\"al\xffice\",\"exp\":9999999999}"), auth.ReasonMalformed},
		{"bad UTF-8 elsewhere", f.secret, f.raw("{\"sub\":\"alice\",\"x\":\"\xc3\x28\",\"exp\":9999999999}"), auth.ReasonMalformed},
	})
}

func TestVerifier_Payloads(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	f.check([]verdict{
		{"claims a list", f.secret, f.raw(`[]`), auth.ReasonMalformed},
		{"claims null", f.secret, f.raw(`null`), auth.ReasonClaims},
		{"claims with something behind", f.secret, f.raw(`{"sub":"a","exp":9999999999} {}`), auth.ReasonMalformed},
		{"claims empty", f.secret, f.raw(``), auth.ReasonMalformed},
		{"claims nested deep", f.secret, f.raw(strings.Repeat("[", 11_000)), auth.ReasonMalformed},
		{"header no JSON", f.secret, signRaw(t, "HS256", f.keys.secret, `alg`, `{}`), auth.ReasonMalformed},
		{"header null", f.secret, signRaw(t, "HS256", f.keys.secret, `null`, `{}`), auth.ReasonAlgorithm},
	})
}

func TestVerifier_Shapes(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	good := f.hs(nil, nil)
	parts := strings.Split(good, ".")
	f.check([]verdict{
		{"one part", f.secret, "token", auth.ReasonMalformed},
		{"two parts", f.secret, parts[0] + "." + parts[1], auth.ReasonMalformed},
		{"four parts", f.secret, good + ".x", auth.ReasonMalformed},
		{"five parts, as if encrypted", f.secret, good + ".x.y", auth.ReasonMalformed},
		{"dots", f.secret, "..", auth.ReasonMalformed},
		{"padded", f.secret, good + "=", auth.ReasonMalformed},
		{"with a line break", f.secret, good[:10] + "\n" + good[10:], auth.ReasonMalformed},
		{"with a blank before", f.secret, " " + good, auth.ReasonMalformed},
		{"standard base64", f.secret, strings.NewReplacer("-", "+", "_", "/").Replace(good + "-"), auth.ReasonMalformed},
		{"bytes", f.secret, "\x00\xff\xfe", auth.ReasonMalformed},
		{"a session of ours", f.secret, "ntf1_AAAA", auth.ReasonMalformed},
		{"16 KiB", f.secret, f.hs(nil, claims{"x": strings.Repeat("x", 12_000)}), ""},
		{"more than 16 KiB", f.secret, f.hs(nil, claims{"x": strings.Repeat("x", 13_000)}), auth.ReasonLength},
		{"1 MB", f.secret, f.hs(nil, claims{"x": strings.Repeat("x", 1_000_000)}), auth.ReasonLength},
		{"1 MB of dots", f.secret, strings.Repeat(".", 1_000_000), auth.ReasonLength},
	})
}
