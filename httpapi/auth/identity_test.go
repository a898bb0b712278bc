package auth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

func TestVerifier_ReadsTheIdentity(t *testing.T) {
	t.Parallel()
	k := testKeys()
	both := auth.RolesOf(auth.Admin)
	for _, test := range []struct {
		name        string
		user, roles string
		claims      claims
		wantUser    string
		wantRoles   auth.Roles
	}{
		{"nothing but a user", "", "", nil, "alice", 0},
		{"a list of roles", "", "", claims{"roles": []string{"x", "publisher"}}, "alice", auth.RolesOf(auth.Publisher)},
		{"admin implies publisher", "", "", claims{"roles": []string{"admin"}}, "alice", both},
		{"roles between blanks", "", "", claims{"roles": " admin  x "}, "alice", both},
		{"one role", "", "", claims{"roles": "publisher"}, "alice", auth.RolesOf(auth.Publisher)},
		{"part of a role", "", "", claims{"roles": "administrator,admin"}, "alice", 0},
		{"role in capitals", "", "", claims{"roles": "Admin"}, "alice", 0},
		{"roles of another type", "", "", claims{"roles": claims{"admin": true}}, "alice", 0},
		{"a list of several types", "", "", claims{"roles": []any{1, nil, []string{"admin"}, "publisher"}}, "alice", auth.RolesOf(auth.Publisher)},
		{"nested", "data.id", "realm_access.roles", claims{"data": claims{"id": "u7"}, "realm_access": claims{"roles": []string{"admin"}}}, "u7", both},
		{"a name with dots", "https://example.com/user", "https://example.com/roles", claims{"https://example.com/user": "u8", "https://example.com/roles": "admin"}, "u8", both},
		{"dots in the middle", "a.b.c", "", claims{"a": claims{"b.c": "u9"}}, "u9", 0},
		{"the whole name wins", "a.b", "", claims{"a.b": "whole", "a": claims{"b": "part"}}, "whole", 0},
		{"path through a string", "sub.id", "", nil, "", 0},
		{"path that ends early", "data", "", claims{"data": claims{"id": "u7"}}, "", 0},
		{"path through a list", "data.0", "", claims{"data": []string{"u7"}}, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, auth.Config{Secret: k.secret, UserClaim: test.user, RolesClaim: test.roles})
			got, err := v.Verify(t.Context(), sign(t, "HS256", k.secret, nil, standard(test.claims)))
			if test.wantUser == "" {
				wantReason(t, err, auth.ReasonUser)
				return
			}
			wantReason(t, err, "")
			if got.User != test.wantUser || got.Roles != test.wantRoles {
				t.Errorf("user %q with roles %q", got.User, got.Roles)
			}
		})
	}
}

// Who rests on an identity until it expires must not be ended while the token
// is still accepted.
func TestIdentity_ExpiresWhenTheTokenIsRefused(t *testing.T) {
	t.Parallel()
	k, clock := testKeys(), newClock()
	v := newVerifier(t, auth.Config{Secret: k.secret, Leeway: 30 * time.Second, Clock: clock.Now})
	token := sign(t, "HS256", k.secret, nil, standard(claims{"exp": in(time.Minute)}))
	identity, err := v.Verify(t.Context(), token)
	wantReason(t, err, "")
	clock.Advance(90*time.Second - 1)
	if _, err := v.Verify(t.Context(), token); err != nil || identity.Expired(v.Now()) {
		t.Errorf("just before: %v, expired %v", err, identity.Expired(v.Now()))
	}
	clock.Advance(1)
	if _, err := v.Verify(t.Context(), token); err == nil || !identity.Expired(v.Now()) {
		t.Errorf("just after: %v, expired %v", err, identity.Expired(v.Now()))
	}
	if (auth.Identity{User: "anonymous"}).Expired(v.Now()) {
		t.Error("an anonymous client expires")
	}
}

func TestIdentity_FingerprintTellsTokensApart(t *testing.T) {
	t.Parallel()
	k := testKeys()
	v := newVerifier(t, auth.Config{Secret: k.secret})
	seen := map[string]bool{}
	for _, id := range []string{"a", "b"} {
		identity, err := v.Verify(t.Context(), sign(t, "HS256", k.secret, nil, standard(claims{"jti": id})))
		wantReason(t, err, "")
		if len(identity.Fingerprint) != 16 || seen[identity.Fingerprint] {
			t.Errorf("fingerprint %q", identity.Fingerprint)
		}
		seen[identity.Fingerprint] = true
	}
}

// The claims are those of airlay's documented request, signed anew with a key
// of the same size.
func TestVerifier_TakesAirlaysToken(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	token := signRaw(t, "RS256", key, `{"typ":"JWT","alg":"RS256"}`,
		`{"iat":1711709116,"jti":"NlYqflG2rkg6fbYQW7zbuBK4krjlLcJ/z3M13OjwJKg=","iss":"dev.airlay.ru","exp":1711716316,`+
			`"data":{"name":"a.kalinin","id":"5dad615eae019570fb4647ed"}}`)
	clock := newClock()
	config := auth.Config{
		PublicKeyFile: file(t, publicPEM(t, key)), UserClaim: "data.id", Issuer: "dev.airlay.ru", Clock: clock.Now,
	}
	v := newVerifier(t, config)
	_, err = v.Verify(t.Context(), token)
	wantReason(t, err, auth.ReasonExpired)

	clock.nanos.Store(time.Date(2024, 3, 29, 12, 0, 0, 0, time.UTC).UnixNano())
	identity, err := v.Verify(t.Context(), token)
	wantReason(t, err, "")
	if want := time.Date(2024, 3, 29, 12, 45, 16, 0, time.UTC); identity.User != "5dad615eae019570fb4647ed" || !identity.Expires.Equal(want) {
		t.Errorf("user %q until %v", identity.User, identity.Expires)
	}
	if length := len(strings.Split(token, ".")[2]); length != 683 {
		t.Errorf("signature has %d characters, the documented one 683", length)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	admin, publisher := auth.RolesOf(auth.Admin), auth.RolesOf(auth.Publisher)
	if !admin.Has(auth.Publisher) || !admin.Has(auth.Admin) || publisher.Has(auth.Admin) || auth.Roles(0).Has(auth.Publisher) {
		t.Error("admin implies publisher, and nothing else")
	}
	if admin.Has("") || admin.Has("other") {
		t.Error("a role that there is not is had")
	}
	if admin.String() != "admin" || publisher.String() != "publisher" || auth.Roles(0).String() != "" {
		t.Errorf("%q, %q, %q", admin, publisher, auth.Roles(0))
	}
	for _, name := range []string{"", "root", "Admin", "admin "} {
		if role, err := auth.ParseRole(name); err == nil {
			t.Errorf("%q is the role %q", name, role)
		}
	}
	if role, err := auth.ParseRole("admin"); err != nil || role != auth.Admin {
		t.Errorf("%q, %v", role, err)
	}
}
