package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// weakRSA is a public key of 1024 bits, which Go no longer makes.
const weakRSA = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDrikFOU+0AE+SwN6UMkEU1qhs3
lnU2jq1wqtagqJ/kwIJonm2SStGB7LxB3RtKGJhd97Vk5mo6L54F4brhtJ5BQCV0
Dc2D8/UOwalyJSQfT3xwe4IPaLVbyr0ygTl2u4JO6+M0/Ciljd4y2YKCUaxcMH43
yr1sXztErQ307Wh5eQIDAQAB
-----END PUBLIC KEY-----
`

func TestNew_RefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	k := testKeys()
	rsaPEM, p256PEM := publicPEM(t, k.rsa), publicPEM(t, k.p256)
	der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(content string, algorithms ...string) auth.Config {
		return auth.Config{PublicKeyFile: file(t, content), Algorithms: algorithms}
	}
	for _, test := range []struct {
		name   string
		config auth.Config
		want   []string
	}{
		{"nothing", auth.Config{}, []string{"jwt-secret, jwt-public-key, jwks-url, jwks-file: none"}},
		{"short secret", auth.Config{Secret: k.secret[:31]}, []string{"jwt-secret: 31 bytes are too few, HS256 needs 32"}},
		{"secret short for its algorithm", auth.Config{Secret: k.secret[:63], Algorithms: []string{"HS256", "HS512"}}, []string{"HS512 needs 64"}},
		{"public key as secret", auth.Config{Secret: []byte(rsaPEM)}, []string{"jwt-secret: this is a key pair's"}},
		{"public key as secret, binary", auth.Config{Secret: der}, []string{"jwt-secret: this is a key pair's"}},
		{"private key as secret", auth.Config{Secret: []byte(privatePEM(t, k.p256))}, []string{"jwt-secret: this is a key pair's"}},
		{"HS256 with a public key", with(rsaPEM, "HS256"), []string{"jwt-algorithms: HS256 needs jwt-secret"}},
		{"HS256 with a key set", auth.Config{JWKSURL: "https://h/", Algorithms: []string{"HS256", "RS256"}}, []string{"jwt-algorithms: HS256 needs jwt-secret"}},
		{"none", auth.Config{Secret: k.secret, Algorithms: []string{"none"}}, []string{`jwt-algorithms: "none" is not one of`}},
		{"unknown algorithm", with(rsaPEM, "RS256", "rs256"), []string{`"rs256" is not one of HS256`}},
		{"secret without use", auth.Config{Secret: k.secret, PublicKeyFile: file(t, rsaPEM), Algorithms: []string{"RS256"}}, []string{"jwt-secret: none of jwt-algorithms uses it"}},
		{"key of another kind", with(p256PEM, "RS256"), []string{"jwt-public-key: key fits none of the configured algorithms, RS256"}},
		{"algorithm without key", with(p256PEM, "ES256", "ES384"), []string{"jwt-algorithms: ES384 fits no key"}},
		{"weak RSA", with(weakRSA), []string{"jwt-public-key: RSA key of 1024 bits"}},
		{"odd curve", with(publicPEM(t, p224)), []string{"jwt-public-key: ECDSA key is not a point of"}},
		{"private key", with(privatePEM(t, k.rsa)), []string{"jwt-public-key: this is a private key"}},
		{"no PEM", with("hello"), []string{"jwt-public-key: no PEM block"}},
		{"other PEM", with(string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL"}))), []string{`jwt-public-key: PEM block is a "X509 CRL"`}},
		{"broken PEM", with(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))), []string{"jwt-public-key: asn1"}},
		{"too many keys", with(strings.Repeat(p256PEM, 65)), []string{"jwt-public-key: more than 64 keys"}},
		{"huge file", with(strings.Repeat("x", 1<<20+1)), []string{"jwt-public-key: more than 1048576 bytes"}},
		{"missing files", auth.Config{PublicKeyFile: "/nowhere/a", JWKSFile: "/nowhere/b"}, []string{"jwt-public-key: open /nowhere/a", "jwks-file: open /nowhere/b"}},
		{"set that is none", auth.Config{JWKSFile: file(t, "{}")}, []string{"jwks-file: key set has no keys"}},
		{"set that is no JSON", auth.Config{JWKSFile: file(t, rsaPEM)}, []string{"jwks-file: not JSON"}},
		{"empty set", auth.Config{JWKSFile: file(t, jwks(t))}, []string{"jwks-file: no key in it can be used"}},
		{"set of a secret", auth.Config{JWKSFile: file(t, `{"keys":[{"kty":"oct","k":"AAAA"}]}`)}, []string{"jwks-file: no key in it can be used"}},
		{"URL of a file", auth.Config{JWKSURL: "file:///etc/passwd"}, []string{"jwks-url: it is no http or https URL"}},
		{"leeway", auth.Config{Secret: k.secret, Leeway: 11 * time.Minute}, []string{"jwt-leeway: 11m0s"}},
		{"negative", auth.Config{Secret: k.secret, Leeway: -1, URLInterval: -1}, []string{"jwt-leeway: -1ns", "url interval is negative"}},
		{"claims", auth.Config{Secret: k.secret, UserClaim: "exp", RolesClaim: "a..b"}, []string{"jwt-user-claim: exp", "jwt-roles-claim: "}},
		{
			"everything at once", auth.Config{Secret: []byte("short"), PublicKeyFile: "/nowhere", JWKSURL: "x", Algorithms: []string{"HS999"}, Leeway: -1},
			[]string{"jwt-public-key: ", "jwks-url: ", "jwt-algorithms: ", "jwt-leeway: "},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v, err := auth.New(t.Context(), test.config)
			if err == nil {
				t.Fatalf("accepted: %v", v)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestNew_TakesKeysInEveryForm(t *testing.T) {
	t.Parallel()
	k := testKeys()
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)}))
	for name, content := range map[string]string{
		"PKCS 1": pkcs1, "PKIX": publicPEM(t, k.rsa), "certificate": certificatePEM(t, k.rsa),
		"second of two": publicPEM(t, k.otherRSA, k.rsa), "text around it": "# our key\n" + pkcs1 + "\nbye\n",
	} {
		v := newVerifier(t, auth.Config{PublicKeyFile: file(t, content)})
		if _, err := v.Verify(t.Context(), sign(t, "RS256", k.rsa, nil, standard(nil))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key set may list what we don't understand, without costing us the rest.
func TestNew_LeavesOutKeysOfASetThatAreNotForUs(t *testing.T) {
	t.Parallel()
	k := testKeys()
	wrongPoint := jwk(t, "point", k.p256, nil)
	wrongPoint["x"] = wrongPoint["y"]
	for name, other := range map[string]claims{
		"encryption":        jwk(t, "x", k.otherRSA, claims{"use": "enc"}),
		"only to sign":      jwk(t, "x", k.otherRSA, claims{"key_ops": []string{"sign"}}),
		"a secret":          {"kty": "oct", "kid": "x", "k": encode(string(k.secret))},
		"unknown kind":      {"kty": "PQC", "kid": "x"},
		"unknown curve":     {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "x"},
		"X25519":            {"kty": "OKP", "crv": "X25519", "x": encode(string(k.secret[:32])), "kid": "x"},
		"not on the curve":  wrongPoint,
		"alg of other kind": jwk(t, "x", k.otherRSA, claims{"alg": "ES256"}),
		"alg none":          jwk(t, "x", k.otherRSA, claims{"alg": "none"}),
		"alg HS256":         jwk(t, "x", k.otherRSA, claims{"alg": "HS256"}),
		"alg a number":      jwk(t, "x", k.otherRSA, claims{"alg": 1}),
		"short RSA":         {"kty": "RSA", "n": encode(string(k.secret)), "e": "AQAB", "kid": "x"},
		"exponent of 1":     jwk(t, "x", k.otherRSA, claims{"e": "AQ"}),
		"no base64":         jwk(t, "x", k.otherRSA, claims{"n": "!!!"}),
	} {
		log := &record{}
		v := newVerifier(t, auth.Config{JWKSFile: file(t, jwks(t, other, jwk(t, "good", k.rsa, nil))), Logger: log.logger()})
		if _, err := v.Verify(t.Context(), sign(t, "RS256", k.rsa, claims{"kid": "good"}, standard(nil))); err != nil {
			t.Errorf("%s: the good key is refused: %v", name, err)
		}
		_, err := v.Verify(t.Context(), sign(t, "RS256", k.otherRSA, claims{"kid": "x"}, standard(nil)))
		if err == nil {
			t.Errorf("%s: the other key is used", name)
		}
		if _, err := v.Verify(t.Context(), sign(t, "HS256", k.secret, claims{"kid": "x"}, standard(nil))); err == nil {
			t.Errorf("%s: a secret is used", name)
		}
		if !strings.Contains(log.String(), "key left out") {
			t.Errorf("%s: nobody is told", name)
		}
	}
}

func TestNew_WarnsOfASetThatComesUnprotected(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"http://idp.internal/keys": true, "http://10.0.0.1/": true,
		"https://idp/": false, "http://localhost:1/": false, "http://127.0.0.1:1/": false, "http://[::1]/": false,
	} {
		log := &record{}
		newVerifier(t, auth.Config{JWKSURL: address, Logger: log.logger()})
		if strings.Contains(log.String(), "plain http") != want {
			t.Errorf("%s: %q", address, log)
		}
	}
}
