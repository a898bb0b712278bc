package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
)

// rotating is a key set of one key, in a file.
type rotating struct {
	t    *testing.T
	path string
	id   string
	key  ed25519.PrivateKey
}

// rotate replaces the key, in one step.
func (r *rotating) rotate(id string) {
	r.t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	r.id, r.key = id, key
	set := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}]}`, id, base64.RawURLEncoding.EncodeToString(public))
	if err := os.WriteFile(r.path+".new", []byte(set), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		r.t.Fatal(err)
	}
}

// token returns an admin's, by the present key.
func (r *rotating) token(user string) string {
	return signRaw(r.t, "EdDSA", r.key, fmt.Sprintf(`{"alg":"EdDSA","kid":%q}`, r.id),
		fmt.Sprintf(`{"sub":%q,"roles":["admin"],"exp":%d}`, user, time.Now().Add(time.Hour).Unix()))
}

// Keys change while clients are connected: who was let in by the old one stays,
// and from then on only the new one counts.
func TestToken_KeysRotateWhileConnected(t *testing.T) {
	t.Parallel()
	r := &rotating{t: t, path: filepath.Join(t.TempDir(), "keys.json")}
	r.rotate("first")
	tokens, err := auth.New(t.Context(), auth.Config{JWKSFile: r.path, FileInterval: 10 * time.Millisecond, UnknownKeyInterval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tokens.Run(ctx) }() // ends with the test
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	d := newDirectory("alice")
	s := setup(t, func(c *httpapi.Config) { c.Hub, c.Store, c.Tokens, c.Anonymous = d.hub, d, tokens, false })
	old := r.token("alice")
	airlay := s.airlay(old)
	airlay.ask("attach", "issueUpdate", "1", airlayOK)
	ernius := s.dial("/subscribe_to_events", "Authorization: Bearer "+old)
	ernius.text(`{"access_id":"alice","timestamp":0}`)
	s.live(ernius)

	r.rotate("second")
	fresh := r.token("alice")
	for token, want := range map[string]int{fresh: http.StatusOK, old: http.StatusUnauthorized} {
		until(t, "the keys are changed", func() bool {
			status, _, _ := s.request("GET", "/clients", "", "Authorization: Bearer "+token)
			return status == want
		})
	}
	d.publish(t, about("issueUpdate", "1", ""), event("alice", 1, `"x"`))
	airlay.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
	ernius.expect(opText, `[{"accessid":"alice","created_at":1,"payload":"x"}]`)
	airlay.ask("attach", "issueUpdate", "2", airlayInvalid)
	airlay.token = fresh
	airlay.ask("attach", "issueUpdate", "2", airlayOK)
	d.publish(t, about("issueUpdate", "2", ""), about("issueUpdate", "1", ""))
	airlay.expect(opText, `{"type":"issueUpdate","id":"2","data":[]}`)
	airlay.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
}
