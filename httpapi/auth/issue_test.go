package auth_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

func issue(t *testing.T, c auth.Config, g auth.Grant) string {
	t.Helper()
	if c.Clock == nil {
		c.Clock = newClock().Now
	}
	issuer, err := auth.NewIssuer(c)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Issue(g)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestIssuer_MakesWhatAVerifierTakes(t *testing.T) {
	t.Parallel()
	k := testKeys()
	secret := auth.Config{Secret: k.secret}
	pair := func(private any, public string, algorithms ...string) auth.Config {
		return auth.Config{PrivateKeyFile: file(t, privatePEM(t, private)), PublicKeyFile: file(t, public), Algorithms: algorithms}
	}
	for name, test := range map[string]struct {
		config auth.Config
		alg    string
	}{
		"secret":           {secret, "HS256"},
		"secret, HS512":    {auth.Config{Secret: k.secret, Algorithms: []string{"HS512", "HS256"}}, "HS512"},
		"RSA":              {pair(k.rsa, publicPEM(t, k.rsa)), "RS256"},
		"RSA, PS384":       {pair(k.rsa, publicPEM(t, k.rsa, k.p256), "ES256", "PS384", "RS256"), "PS384"},
		"P-384":            {pair(k.p384, publicPEM(t, k.p384)), "ES384"},
		"Ed25519":          {pair(k.ed, publicPEM(t, k.ed)), "EdDSA"},
		"private over key": {func() auth.Config { c := pair(k.ed, publicPEM(t, k.ed)); c.Secret = k.secret; return c }(), "EdDSA"},
		"all the claims": {auth.Config{
			Secret: k.secret, Issuer: "us", Audience: "notifier", UserClaim: "data.id", RolesClaim: "https://example.com/roles",
		}, "HS256"},
		"roles beside the user": {auth.Config{Secret: k.secret, UserClaim: "data.id", RolesClaim: "data.roles"}, "HS256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := issue(t, test.config, auth.Grant{User: "alice", Roles: auth.RolesOf(auth.Publisher), TTL: time.Hour})
			got, err := newVerifier(t, test.config).Verify(t.Context(), token)
			wantReason(t, err, "")
			if got.User != "alice" || got.Roles != auth.RolesOf(auth.Publisher) || !got.Expires.Equal(time.Unix(in(time.Hour), 0)) {
				t.Errorf("%+v", got)
			}
			header, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
			if err != nil || !strings.Contains(string(header), `"alg":"`+test.alg+`"`) {
				t.Errorf("header %s, %v", header, err)
			}
		})
	}
}

func TestIssuer_PutsClaimsBesideItsOwn(t *testing.T) {
	t.Parallel()
	config := auth.Config{Secret: testKeys().secret, UserClaim: "data.id"}
	extra := claims{"data": claims{"name": "a.kalinin"}, "exp": 1}
	token := issue(t, config, auth.Grant{User: "u7", TTL: time.Minute, Extra: extra})
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Data  map[string]string
		Exp   int64
		JTI   string
		Roles any
	}
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if got.Data["name"] != "a.kalinin" || got.Data["id"] != "u7" || got.Exp != in(time.Minute) || len(got.JTI) < 20 || got.Roles != nil {
		t.Errorf("%s", payload)
	}
	if len(extra["data"].(claims)) != 1 {
		t.Error("the caller's claims have changed")
	}
	if other := issue(t, config, auth.Grant{User: "u7", TTL: time.Minute}); strings.Contains(other, got.JTI) {
		t.Error("two tokens have one id")
	}
}

func TestNewIssuer_RefusesKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	k := testKeys()
	private := func(content string) auth.Config { return auth.Config{PrivateKeyFile: file(t, content)} }
	ec, err := x509.MarshalECPrivateKey(k.p256)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ec}))
	if _, err := auth.NewIssuer(private(string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS"})) + sec1)); err != nil {
		t.Errorf("key with parameters in front: %v", err)
	}
	for want, config := range map[string]auth.Config{
		"jwt-secret, jwt-private-key: neither": {PublicKeyFile: "/nowhere"},
		"jwt-secret: 5 bytes are too few":      {Secret: []byte("short")},
		"jwt-private-key: no PEM block":        private(""),
		"jwt-private-key: more than one key":   private(sec1 + sec1),
		"is a \"PUBLIC KEY\"":                  private(publicPEM(t, k.rsa)),
		"jwt-private-key: open":                {PrivateKeyFile: "/nowhere"},
		"fits none of the configured":          {PrivateKeyFile: file(t, sec1), Algorithms: []string{"RS256"}},
	} {
		if _, err := auth.NewIssuer(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestIssuer_RefusesTokensThatNobodyWouldTake(t *testing.T) {
	t.Parallel()
	issuer, err := auth.NewIssuer(auth.Config{Secret: testKeys().secret, RolesClaim: "sub.roles"})
	if err != nil {
		t.Fatal(err)
	}
	for name, grant := range map[string]auth.Grant{
		"no user":         {TTL: time.Hour},
		"long user":       {User: strings.Repeat("a", 257), TTL: time.Hour},
		"user with NUL":   {User: "\x00", TTL: time.Hour},
		"user in Latin-1": {User: "\xe4", TTL: time.Hour},
		"no time":         {User: "alice"},
		"past":            {User: "alice", TTL: -time.Hour},
		"too much":        {User: "alice", TTL: time.Hour, Extra: claims{"x": strings.Repeat("x", 20_000)}},
		"user twice":      {User: "alice", TTL: time.Hour, Extra: claims{"sub": "bob"}},
		"roles in a text": {User: "alice", TTL: time.Hour, Roles: auth.RolesOf(auth.Admin)},
		"no JSON":         {User: "alice", TTL: time.Hour, Extra: claims{"x": func() {}}},
	} {
		if token, err := issuer.Issue(grant); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
}
