package auth_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// Who does not know the secret gets in with nothing but a token that was made
// with it.
func FuzzVerifier_Verify(f *testing.F) {
	k := testKeys()
	v := newVerifier(f, auth.Config{Secret: k.secret, PublicKeyFile: file(f, publicPEM(f, k.p256)), JWKSFile: file(f, jwks(f, jwk(f, "a", k.ed, nil)))})
	good := []string{
		sign(f, "HS256", k.secret, nil, standard(nil)), sign(f, "ES256", k.p256, claims{"kid": "x"}, standard(nil)),
		sign(f, "EdDSA", k.ed, claims{"kid": "a"}, standard(nil)),
	}
	for _, token := range good {
		f.Add(token)
	}
	f.Add("..")
	f.Add(encode(`{"alg":"none"}`) + "." + encode(`{"sub":"a","exp":9999999999}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		identity, err := v.Verify(t.Context(), token)
		if err == nil && !slices.Contains(good, token) {
			t.Errorf("%q is taken for %+v", token, identity)
		}
		if err != nil && len(token) > 8 && strings.Contains(err.Error(), token) {
			t.Errorf("%q is shown: %v", token, err)
		}
	})
}

// Claims that are signed may still be anything. What is taken has a user that
// can be stored, and has not expired.
func FuzzVerifier_SignedClaims(f *testing.F) {
	k := testKeys()
	v := newVerifier(f, auth.Config{Secret: k.secret, UserClaim: "data.id", RolesClaim: "data.roles"})
	f.Add(`{"alg":"HS256"}`, `{"data":{"id":"a","roles":["admin"]},"exp":9999999999}`)
	f.Add(`{"alg":"HS256","kid":1}`, `{"data":{"id":"\ud800"},"exp":1e18,"nbf":-1}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		identity, err := v.Verify(t.Context(), signRaw(t, "HS256", k.secret, header, payload))
		if err != nil {
			return
		}
		if identity.User == "" || len(identity.User) > auth.MaxUser || strings.ContainsAny(identity.User, "\x00\ufffd") || identity.Expired(v.Now()) {
			t.Errorf("%q is taken for %+v", payload, identity)
		}
	})
}

func FuzzRedactURL(f *testing.F) {
	f.Add("/ws?a=b&", "&c=d")
	f.Add("https://u:p@h/x?", "#f")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "S3CR3T"
		if strings.Contains(before+after, secret) {
			return
		}
		// A request in which the server would find the token shows none.
		target := before + "token=" + secret + after
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		c, err := auth.FromRequest(&http.Request{URL: u}, "token")
		if err == nil && strings.Contains(c.Token, secret) && strings.Contains(auth.RedactURL(target), secret) {
			t.Errorf("%q becomes %q", target, auth.RedactURL(target))
		}
	})
}

func BenchmarkVerifier_Verify(b *testing.B) {
	k := testKeys()
	v := newVerifier(b, auth.Config{Secret: k.secret, PublicKeyFile: file(b, publicPEM(b, k.rsa, k.p256, k.ed))})
	for name, token := range map[string]string{
		"HS256": sign(b, "HS256", k.secret, nil, standard(nil)), "RS256": sign(b, "RS256", k.rsa, nil, standard(nil)),
		"ES256": sign(b, "ES256", k.p256, nil, standard(nil)), "EdDSA": sign(b, "EdDSA", k.ed, nil, standard(nil)),
		"expired": sign(b, "RS256", k.rsa, nil, standard(claims{"exp": in(-time.Hour)})), "foreign": sign(b, "RS256", k.otherRSA, nil, standard(nil)),
		"garbage": strings.Repeat("x", 1000), "huge": strings.Repeat("x", 1<<20),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v.Verify(b.Context(), token)
			}
		})
	}
}
