package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

// Nothing that is logged or returned as an error shows a token, a part of one,
// a password or a secret, whatever goes wrong.
func TestErrorsAndLogsShowNoSecret(t *testing.T) {
	t.Parallel()
	k := testKeys()
	said := &record{}
	say := func(err error) {
		fmt.Fprintf(said, "%v\n%+v\n%#v\n", err, err, err)
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(said, "%#v\n", err)
		}
	}
	var secrets []string
	server := newKeyServer(t, jwks(t, jwk(t, "a", k.rsa, nil), claims{"kty": "oct", "k": "hunter4"}, claims{"kty": "RSA", "n": "hunter5!", "e": "AQAB"}))
	address := strings.Replace(server.URL, "http://", "http://user:hunter6@", 1) + "/?key=hunter7"
	clock := newClock()
	v := newVerifier(t, auth.Config{Secret: k.secret, JWKSURL: address, Clock: clock.Now, Logger: said.logger()})
	run(t, v)
	eventually(t, "the keys are loaded", func() bool { return v.Ready() == nil })
	for _, token := range []string{
		sign(t, "HS256", []byte("hunter1"), nil, standard(nil)), sign(t, "HS256", k.secret, nil, standard(claims{"sub": 1, "aud": "hunter8"})),
		sign(t, "HS256", k.secret, nil, standard(claims{"exp": "hunter8"})), sign(t, "HS256", k.secret, nil, standard(claims{"exp": 1})),
		sign(t, "RS256", k.otherRSA, claims{"kid": "hunter8"}, standard(nil)), sign(t, "RS256", k.rsa, claims{"kid": "a"}, standard(nil)),
		signRaw(t, "HS256", k.secret, `{"alg":"hunter8"}`, `{}`), signRaw(t, "HS256", k.secret, `hunter8`, `{}`),
		signRaw(t, "HS256", k.secret, `{"alg":"HS256"}`, `hunter8`), "hunter8.hunter8.hunter8", "hunter8", strings.Repeat("hunter8", 5000),
	} {
		clock.Advance(5 * time.Second)
		_, err := v.Verify(t.Context(), token)
		say(err)
		for part := range strings.SplitSeq(token, ".") {
			if len(part) > 8 {
				secrets = append(secrets, part)
			}
		}
	}
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hunter8") },
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[{"kty":"other"}]}`) },
	} {
		server.serveWith(answer)
		say(v.Refresh(t.Context()))
	}
	server.Close()
	say(v.Refresh(t.Context()))
	for _, c := range []auth.Config{
		{Secret: []byte("hunter2")}, {Secret: []byte(privatePEM(t, k.p256))}, {JWKSURL: "://user:hunter2@h"}, {JWKSURL: "ftp://hunter2@h"},
		{PublicKeyFile: file(t, privatePEM(t, k.p256))}, {PrivateKeyFile: file(t, "hunter2"), Secret: k.secret},
	} {
		_, err := auth.New(t.Context(), c)
		say(err)
		_, err = auth.NewIssuer(c)
		say(err)
	}
	logins := auth.NewLogins(auth.LoginConfig{})
	for range 7 {
		say(logins.Check(t.Context(), login("alice", "10.0.0.1", "hunter2"), stored(right)))
	}
	say(logins.Check(t.Context(), login("bob", "10.0.0.2", "hunter2"), stored("$argon2id$v=19$hunter2")))
	say(auth.CheckHash("$argon2id$v=19$m=hunter2,t=1,p=1$x$y"))
	_, err := newSigner(t, 1, clock).Verify("ntf1_hunter2", "drp")
	say(err)

	text := said.String()
	secrets = append(secrets, "hunter", string(k.secret), string(k.secret[:16]), base64.StdEncoding.EncodeToString(k.secret)[:20], right[len(right)-20:])
	for _, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("shown: ...%s", text[max(0, at-200):min(len(text), at+len(secret)+100)])
		}
	}
	if lines := strings.Count(text, "\n"); lines < 60 {
		t.Errorf("only %d lines were looked at", lines)
	}
}
