package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
	"github.com/golang-jwt/jwt/v5"
)

// keys are made once: RSA keys take their time.
type keys struct {
	secret           []byte
	rsa, otherRSA    *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}

var testKeys = sync.OnceValue(func() keys {
	k := keys{secret: []byte("the-secret-of-these-tests-is-64-bytes-long-so-it-does-for-HS512!")}
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.otherRSA, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	k.p521, _ = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

// clock is time that only a test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// in returns a claim's time, relative to when the test began.
func in(d time.Duration) int64 { return newClock().Now().Add(d).Unix() }

type claims = map[string]any

// standard returns the claims of a good token, with some changed; nil removes.
func standard(changes claims) claims {
	c := claims{"sub": "alice", "iat": in(-time.Minute), "exp": in(time.Hour)}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, value any) bool { return value == nil })
	return c
}

func sign(t testing.TB, algorithm string, key any, header, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	h := claims{"typ": "JWT", "alg": algorithm}
	maps.Copy(h, header)
	head, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return signRaw(t, algorithm, key, string(head), string(payload))
}

// signRaw signs any header and payload, whatever they are.
func signRaw(t testing.TB, algorithm string, key any, header, payload string) string {
	t.Helper()
	text := encode(header) + "." + encode(payload)
	signature, err := jwt.GetSigningMethod(algorithm).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func publicPEM(t testing.TB, keys ...crypto.Signer) string {
	t.Helper()
	var out bytes.Buffer
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(&out, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return out.String()
}

func privatePEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// jwk returns a member of a key set.
func jwk(t testing.TB, id string, key crypto.Signer, more claims) claims {
	t.Helper()
	number := base64.RawURLEncoding.EncodeToString
	var m claims
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		m = claims{"kty": "RSA", "n": number(k.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		m = claims{"kty": "EC", "crv": k.Params().Name, "x": number(point[1 : 1+half]), "y": number(point[1+half:])}
	case ed25519.PublicKey:
		m = claims{"kty": "OKP", "crv": "Ed25519", "x": number(k)}
	}
	if id != "" {
		m["kid"] = id
	}
	maps.Copy(m, more)
	return m
}

func jwks(t testing.TB, members ...claims) string {
	t.Helper()
	if members == nil {
		members = []claims{}
	}
	text, err := json.Marshal(claims{"keys": members})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newVerifier(t testing.TB, c auth.Config) *auth.Verifier {
	t.Helper()
	if c.Clock == nil {
		c.Clock = newClock().Now
	}
	v, err := auth.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantReason fails unless a verification ended as expected; no reason: well.
func wantReason(t testing.TB, err error, want auth.Reason) {
	t.Helper()
	var got auth.Reason
	if e, ok := asTokenError(err); ok {
		got = e.Reason
	} else if err != nil {
		t.Fatalf("verification ended with %v, not a token error", err)
	}
	if got != want {
		t.Fatalf("verification ended with %q, want %q", got, want)
	}
}

// run has a verifier keep its keys fresh until the test ends.
func run(t testing.TB, v *auth.Verifier) {
	t.Helper()
	ended := make(chan error, 1)
	ctx := t.Context()
	go func() { ended <- v.Run(ctx) }() // ends with the test
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// eventually waits for a fact.
func eventually(t testing.TB, what string, fact func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !fact() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// record is a logger into a buffer that several goroutines may write.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func certificatePEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
