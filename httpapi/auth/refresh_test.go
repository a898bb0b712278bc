package auth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi/auth"
)

// keyServer is an identity provider's key set, which a test changes.
type keyServer struct {
	*httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int64
}

func newKeyServer(t *testing.T, set string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.serve(set)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		(*s.answer.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) serve(set string) {
	s.serveWith(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, set) })
}

func (s *keyServer) serveWith(answer http.HandlerFunc) { s.answer.Store(&answer) }

// served is a verifier that follows a key server.
func served(t *testing.T, s *keyServer, c auth.Config) (*auth.Verifier, *clock) {
	t.Helper()
	clock := newClock()
	c.JWKSURL, c.Clock = s.URL, clock.Now
	v := newVerifier(t, c)
	run(t, v)
	eventually(t, "the keys are loaded", func() bool { return v.Ready() == nil })
	return v, clock
}

func TestVerifier_FollowsARotation(t *testing.T) {
	t.Parallel()
	k := testKeys()
	a, b := jwk(t, "a", k.rsa, nil), jwk(t, "b", k.p256, nil)
	tokenA := sign(t, "RS256", k.rsa, claims{"kid": "a"}, standard(nil))
	tokenB := sign(t, "ES256", k.p256, claims{"kid": "b"}, standard(nil))
	server := newKeyServer(t, jwks(t, a))
	v, clock := served(t, server, auth.Config{})
	verify := func(token string) error {
		_, err := v.Verify(t.Context(), token)
		return err
	}
	wantReason(t, verify(tokenA), "")
	wantReason(t, verify(tokenB), auth.ReasonKey)

	server.serve(jwks(t, a, b))
	clock.Advance(5 * time.Second)
	wantReason(t, verify(tokenB), "") // at once, not at the next interval
	wantReason(t, verify(tokenA), "")

	server.serve(jwks(t, b))
	if err := v.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantReason(t, verify(tokenA), auth.ReasonKey)
	wantReason(t, verify(tokenB), "")

	server.serve(jwks(t)) // its owner trusts none any more
	if err := v.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantReason(t, verify(tokenB), auth.ReasonKey)
}

func TestVerifier_KeepsTheLastGoodKeys(t *testing.T) {
	t.Parallel()
	k := testKeys()
	server := newKeyServer(t, jwks(t, jwk(t, "a", k.rsa, nil)))
	v, clock := served(t, server, auth.Config{})
	good := sign(t, "RS256", k.rsa, claims{"kid": "a"}, standard(nil))
	unknown := sign(t, "RS256", k.otherRSA, claims{"kid": "b"}, standard(nil))
	for name, answer := range map[string]http.HandlerFunc{
		"error":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"page":         func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"half a set":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[`) },
		"another type": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":{}}`) },
		"no keys":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"error":"try later"}`) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 2 << 10 {
				io.WriteString(w, strings.Repeat(" ", 1<<10))
			}
		},
		"cut off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"away to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"in circles": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
	} {
		server.serveWith(answer)
		clock.Advance(5 * time.Second)
		_, err := v.Verify(t.Context(), unknown)
		wantReason(t, err, auth.ReasonKey)
		if v.Refresh(t.Context()) == nil {
			t.Errorf("%s: taken for a key set", name)
		}
		if _, err := v.Verify(t.Context(), good); err != nil || v.Ready() != nil {
			t.Errorf("%s: the good key is gone: %v", name, err)
		}
	}
	server.Close()
	if v.Refresh(t.Context()) == nil {
		t.Error("a closed server answers")
	}
	_, err := v.Verify(t.Context(), good)
	wantReason(t, err, "")
}

// However many tokens have unknown key ids, the key server sees one request in
// some seconds, and tokens with known ids don't wait.
func TestVerifier_FloodOfUnknownKeyIDs(t *testing.T) {
	t.Parallel()
	k := testKeys()
	server := newKeyServer(t, jwks(t, jwk(t, "a", k.rsa, nil)))
	v, clock := served(t, server, auth.Config{})
	good := sign(t, "RS256", k.rsa, claims{"kid": "a"}, standard(nil))
	bad := sign(t, "RS256", k.otherRSA, claims{"kid": "b"}, standard(nil))
	flood := func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 100 {
					if _, err := v.Verify(t.Context(), bad); err == nil {
						t.Error("an unknown key is known")
					}
				}
			})
		}
		wg.Wait()
	}
	for round := range 3 {
		before := server.fetches.Load()
		flood()
		if got := server.fetches.Load() - before; got != 1 {
			t.Errorf("round %d: a flood makes %d requests", round, got)
		}
		clock.Advance(5 * time.Second)
	}

	held, release := make(chan struct{}), make(chan struct{})
	server.serveWith(func(http.ResponseWriter, *http.Request) { close(held); <-release })
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := v.Verify(t.Context(), bad)
		wantReason(t, err, auth.ReasonKey)
	})
	<-held
	_, err := v.Verify(t.Context(), good)
	wantReason(t, err, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a client that goes away does not keep waiting
	_, err = v.Verify(ctx, bad)
	wantReason(t, err, auth.ReasonKey)
	close(release)
	wg.Wait()
}

// An instance must be able to start while the identity provider can't.
func TestVerifier_StartsWithoutTheKeyServer(t *testing.T) {
	t.Parallel()
	k := testKeys()
	server := newKeyServer(t, "")
	server.serveWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	clock := newClock()
	v := newVerifier(t, auth.Config{JWKSURL: server.URL, Clock: clock.Now})
	token := sign(t, "RS256", k.rsa, claims{"kid": "a"}, standard(nil))
	_, err := v.Verify(t.Context(), token) // nobody runs it yet, so nobody waits
	wantReason(t, err, auth.ReasonKey)
	if v.Ready() == nil || !strings.Contains(v.Ready().Error(), "jwks-url") {
		t.Errorf("ready without keys: %v", v.Ready())
	}
	run(t, v)
	eventually(t, "the first request", func() bool { return server.fetches.Load() > 0 })
	server.serve(jwks(t, jwk(t, "a", k.rsa, nil)))
	eventually(t, "the token is taken", func() bool {
		clock.Advance(5 * time.Second)
		_, err := v.Verify(t.Context(), token)
		return err == nil
	})
	if v.Ready() != nil {
		t.Error(v.Ready())
	}
}

func TestVerifier_ReadsFilesAgain(t *testing.T) {
	t.Parallel()
	k := testKeys()
	pemFile, setFile := file(t, publicPEM(t, k.rsa)), file(t, jwks(t, jwk(t, "a", k.p256, nil)))
	v := newVerifier(t, auth.Config{PublicKeyFile: pemFile, JWKSFile: setFile})
	old := sign(t, "RS256", k.rsa, nil, standard(nil))
	fresh := sign(t, "RS256", k.otherRSA, nil, standard(nil))
	write := func(path, content string) error {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return v.Refresh(t.Context())
	}
	if err := write(pemFile, publicPEM(t, k.rsa, k.otherRSA)); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, fresh} {
		_, err := v.Verify(t.Context(), token)
		wantReason(t, err, "")
	}
	if err := write(pemFile, "half written"); err == nil || !strings.HasPrefix(err.Error(), "jwt-public-key: ") {
		t.Errorf("a broken file: %v", err)
	}
	if err := write(pemFile, publicPEM(t, k.otherRSA)); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(t.Context(), old)
	wantReason(t, err, auth.ReasonSignature)
	if err := write(setFile, jwks(t, jwk(t, "b", k.p384, nil))); err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), sign(t, "ES384", k.p384, claims{"kid": "b"}, standard(nil)))
	wantReason(t, err, "")
}

// transport answers requests without a network, so that time can be the test's.
type transport struct {
	set     string
	down    atomic.Bool
	fetches atomic.Int64
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f.fetches.Add(1)
	if f.down.Load() {
		return nil, errors.New("unreachable")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(f.set)), Request: r}, nil
}

func TestVerifier_FetchesAtItsIntervals(t *testing.T) {
	t.Parallel()
	k := testKeys()
	set := jwks(t, jwk(t, "a", k.rsa, nil))
	synctest.Test(t, func(t *testing.T) {
		server := &transport{set: set}
		server.down.Store(true)
		v, err := auth.New(t.Context(), auth.Config{JWKSURL: "https://user:hunter2@idp/", HTTPClient: &http.Client{Transport: server}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // ends with cancel
			if err := v.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		pass := func(d time.Duration) int64 {
			server.fetches.Store(0)
			<-time.After(d)
			synctest.Wait()
			return server.fetches.Load()
		}
		synctest.Wait()
		if got := pass(10 * time.Minute); got < 10 || got > 30 {
			t.Errorf("%d requests in 10 minutes of failure", got)
		}
		server.down.Store(false)
		pass(time.Minute)
		if v.Ready() != nil {
			t.Error(v.Ready())
		}
		if got := pass(time.Hour); got != 4 {
			t.Errorf("%d requests in an hour, not one in 15 minutes", got)
		}
		cancel()
		wg.Wait()
	})
}
