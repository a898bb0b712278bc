package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
	"github.com/golang-jwt/jwt/v5"
)

// airlayKey is of the size of the key that signed the document's token. It is
// made once: that takes seconds.
var airlayKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		panic(err)
	}
	return key
})

// sharedSecret signs the tokens of the other protocols.
var sharedSecret = []byte("a secret that only these tests know, 32 bytes or more")

type claims = map[string]any

// sign returns a token with these claims.
func sign(t testing.TB, algorithm string, key any, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return signRaw(t, algorithm, key, fmt.Sprintf(`{"typ":"JWT","alg":%q}`, algorithm), string(payload))
}

// signRaw signs any header and payload, byte for byte.
func signRaw(t testing.TB, algorithm string, key any, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := jwt.GetSigningMethod(algorithm).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// airlayToken returns a token as airlay's, good for a time.
func airlayToken(t testing.TB, user string, life time.Duration) string {
	t.Helper()
	now := time.Now()
	return signRaw(t, "RS256", airlayKey(), `{"typ":"JWT","alg":"RS256"}`, fmt.Sprintf(
		`{"iat":%d,"jti":"NlYqflG2rkg6fbYQW7zbuBK4krjlLcJ/z3M13OjwJKg=","iss":"dev.airlay.ru","exp":%d,"data":{"name":"a.kalinin","id":%q}}`,
		now.Unix(), now.Add(life).Unix(), user))
}

// token returns one for the other protocols, with more claims than the user's.
func token(t testing.TB, user string, life time.Duration, more claims) string {
	t.Helper()
	c := claims{"sub": user, "exp": time.Now().Add(life).Unix()}
	maps.Copy(c, more)
	return sign(t, "HS256", sharedSecret, c)
}

func withRoles(roles ...string) claims { return claims{"roles": roles} }

// directory is a policy in memory: who exists and may read what. It stands
// before a store that allows everything.
type directory struct {
	*store
	mu      sync.Mutex
	users   map[string]bool
	allowed map[string]bool // "user dataset"
	fault   error           // what the policy fails with
	asked   chan struct{}   // if not nil, takes a value before each admission
}

// asOf is where every answer of the directory stands: it is never too old.
const asOf = 1 << 40

// Admit answers as the default functions do: the dataset is that of the object
// of two types.
func (d *directory) Admit(_ context.Context, user, eventType, key string) (notifier.Admission, error) {
	if d.asked != nil {
		d.asked <- struct{}{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a := notifier.Admission{Exists: d.users[user], At: position(asOf)}
	if eventType == "datasetUpdate" || eventType == "uploadFile" {
		a.Dataset = &key
		a.MayRead = a.Exists && d.allowed[user+" "+key]
	}
	return a, d.fault
}

// Ask is the hub's policy.
func (d *directory) Ask(_ context.Context, questions []notifier.Question) ([]bool, notifier.Position, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answers := make([]bool, len(questions))
	for i, q := range questions {
		answers[i] = d.users[q.User] && (!q.HasDataset || d.allowed[q.User+" "+q.Dataset])
	}
	return answers, position(asOf), d.fault
}

// permit lets a user read a dataset, or no longer, and tells the hub.
func (d *directory) permit(user, dataset string, allowed bool) {
	d.mu.Lock()
	d.allowed[user+" "+dataset] = allowed
	d.mu.Unlock()
	kind := notifier.ControlAccessRevoked
	if allowed {
		kind = notifier.ControlAccessGranted
	}
	d.control(&notifier.Event{Control: kind, Recipient: &user, DatasetID: &dataset})
}

// control publishes a control event by itself.
func (d *directory) control(e *notifier.Event) {
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	e.TxID = s.xid
	e.Payload = fmt.Appendf(nil, `{"snapshot":"%d:%d:"}`, s.xid, s.xid)
	page := notifier.Page{From: position(s.xid), To: position(s.xid + 1), Events: []*notifier.Event{e}, Controls: []*notifier.Event{e}, Last: true}
	s.xid++
	if err := s.hub.Publish(context.Background(), page); err != nil {
		panic(err)
	}
}

func newDirectory(users ...string) *directory {
	d := &directory{users: map[string]bool{}, allowed: map[string]bool{}}
	for _, u := range users {
		d.users[u] = true
	}
	d.store = &store{xid: 100}
	d.hub = notifier.NewHub(notifier.HubConfig{Access: notifier.AccessConfig{Policy: d, Accounts: d.AccountGenerations}})
	d.hub.Start(notifier.Beginning{Position: position(d.xid)})
	return d
}

// guarded has a server ask a directory, and take tokens by a configuration.
func guarded(t testing.TB, d *directory, tokens auth.Config) func(*httpapi.Config) {
	return func(c *httpapi.Config) {
		t.Helper()
		if tokens.Logger == nil {
			tokens.Logger = c.Logger
		}
		v, err := auth.New(context.Background(), tokens)
		if err != nil {
			t.Fatal(err)
		}
		c.Hub, c.Store, c.Tokens, c.Anonymous = d.hub, d, v, false
	}
}

// asAirlay is how an operator takes airlay's tokens.
func asAirlay(t testing.TB) auth.Config {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(airlayKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "airlay.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return auth.Config{PublicKeyFile: path, UserClaim: "data.id"}
}

// bySecret is how an operator takes the others.
func bySecret() auth.Config { return auth.Config{Secret: sharedSecret} }

// spoken is everything that a server has logged.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *spoken) listen(c *httpapi.Config) {
	c.Logger = slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
}

// exchange sends bytes over a connection of their own and returns the answer.
func (s *system) exchange(request string) *http.Response {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection: the server may not read it all
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatalf("%s: %v", short(request), err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body) // what it says is of no matter
	return answer
}

// handshake opens a WebSocket, or returns why not.
func (s *system) handshake(path string, headers ...string) (*http.Response, *client) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := newClient(s.t, conn)
	request := upgradeRequest(path, append(headers, "Host: "+s.addr)...)
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection: the server may not read it all
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		s.t.Fatalf("%s: %v", short(request), err)
	}
	return answer, c
}
