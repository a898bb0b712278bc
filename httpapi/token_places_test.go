package httpapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// place is where a token can come from. show shows a token there and returns
// what becomes of the client.
type place struct {
	name string
	show func(s *system, token string) string
}

// What becomes of who shows a token.
const (
	letIn    = "let in"
	leftOut  = "left out"
	tooLarge = "too large"
	garbled  = "garbled" // not even a message
)

// byRequest is the verdict of an answer to a request with a token, and checks
// that it is a proper one.
func byRequest(s *system, status int, header http.Header) string {
	s.t.Helper()
	challenge := header.Get("WWW-Authenticate")
	switch {
	case status == http.StatusOK, status == http.StatusSwitchingProtocols:
		return letIn
	case status == http.StatusUnauthorized && challenge == `Bearer error="invalid_token"`:
		return leftOut
	case status == http.StatusRequestHeaderFieldsTooLarge:
		return tooLarge
	}
	return fmt.Sprintf("%d with the challenge %q", status, challenge)
}

// requests are the places of a request, by its method and body.
func requests(method, path, body string) []place {
	ask := func(s *system, path string, headers ...string) string {
		s.t.Helper()
		if body != "" {
			headers = append(headers, "Content-Type: application/json")
		}
		return rawRequest(s, method, path, body, headers...)
	}
	return []place{
		{method + " " + path + " by header", func(s *system, token string) string { return ask(s, path, "Authorization: Bearer "+token) }},
		{method + " " + path + " by query", func(s *system, token string) string { return ask(s, path+"?token="+url.QueryEscape(token)) }},
	}
}

// rawRequest sends a request whose header may be anything.
func rawRequest(s *system, method, path, body string, headers ...string) string {
	s.t.Helper()
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n\r\n",
		method, path, s.addr, len(body), strings.Join(headers, "\r\n"))
	if len(headers) == 0 {
		head = strings.Replace(head, "\r\n\r\n\r\n", "\r\n\r\n", 1)
	}
	answer := s.exchange(head + body)
	return byRequest(s, answer.StatusCode, answer.Header)
}

// handshakes are the places of a WebSocket's request.
func handshakes(path string, in func(c *client) string) []place {
	open := func(s *system, path string, headers ...string) string {
		s.t.Helper()
		answer, c := s.handshake(path, headers...)
		verdict := byRequest(s, answer.StatusCode, answer.Header)
		if verdict == letIn {
			return in(c)
		}
		return verdict
	}
	return []place{
		{path + " by header", func(s *system, token string) string { return open(s, path, "Authorization: Bearer "+token) }},
		{path + " by query", func(s *system, token string) string { return open(s, path+"?token="+url.QueryEscape(token)) }},
	}
}

// messages are the places of a client's first message.
func messages(path string, message func(token string) string, in func(c *client) string) place {
	return place{path + " by message", func(s *system, token string) string {
		s.t.Helper()
		_, c := s.handshake(path)
		c.text(message(token))
		return in(c)
	}}
}

// quoted is a token in JSON, also one that is no text.
func quoted(token string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\x00", `\u0000`).Replace(token) + `"`
}

// airlayVerdict is that of the answer to an attachment.
func airlayVerdict(c *client) string {
	c.t.Helper()
	got, err := c.read()
	switch {
	case err != nil:
		return err.Error()
	case got.payload == airlayOK:
		return letIn
	case got.payload == airlayInvalid:
		return leftOut
	case got.payload == airlayBad:
		return garbled
	case got.op == opClose && strings.HasPrefix(got.payload, closePayload(1009, "")):
		return tooLarge
	}
	return got.payload
}

// erniusVerdict is that of an announcement, to which no answer is a good one.
func erniusVerdict(c *client) string {
	c.t.Helper()
	c.send(0x80|opPing, "and?")
	got, err := c.read()
	if err != nil {
		return err.Error()
	}
	switch got {
	case frame{opPong, "and?"}:
		return letIn
	case frame{opText, "Not authorized: invalid token"}:
		if code, reason := c.expectClose(); code != 1008 || reason != "not authorized" {
			return fmt.Sprintf("closed with %d %q", code, reason)
		}
		return leftOut
	case frame{opText, "Wrong JSON announcement"}:
		return garbled
	}
	if got.op == opClose && strings.HasPrefix(got.payload, closePayload(1009, "")) {
		return tooLarge
	}
	return got.payload
}

// everywhere are all places that a token can come from.
func everywhere() []place {
	attach := func(auth string) string {
		return `{` + auth + `"action":"attach","event":{"type":"issueUpdate","id":"1"}}`
	}
	announce := func(auth string) string { return `{` + auth + `"access_id":"alice","timestamp":0}` }
	all := slices.Concat(
		requests("GET", "/clients", ""),
		requests("POST", "/push_events", `[]`),
		requests("POST", "/drop_user", `{"drop_access_id":"nobody"}`),
		handshakes("/ws", func(c *client) string { c.text(attach("")); return airlayVerdict(c) }),
		handshakes("/subscribe_to_events", func(c *client) string { c.text(announce("")); return erniusVerdict(c) }),
	)
	return append(all,
		messages("/ws", func(token string) string { return attach(`"auth":` + quoted(token) + `,`) }, airlayVerdict),
		messages("/subscribe_to_events", func(token string) string { return announce(`"auth":` + quoted(token) + `,`) }, erniusVerdict))
}

// shown is a token and what becomes of who shows it: in a request, and in a
// message.
type shown struct{ token, request, message string }

// kinds are good and bad tokens, for an audience, of a user claim inside
// another.
func kinds(t *testing.T, publicPEM string) map[string]shown {
	t.Helper()
	standard := func(change claims) claims {
		c := claims{
			"data": claims{"id": "alice", "roles": []string{"admin"}}, "aud": "notifier", "iss": "an issuer",
			"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		maps.Copy(c, change)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		return c
	}
	hs := func(change claims) string { return sign(t, "HS256", sharedSecret, standard(change)) }
	rs := func(change claims) string { return sign(t, "RS256", airlayKey(), standard(change)) }
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(standard(nil))
	if err != nil {
		t.Fatal(err)
	}
	text := string(payload)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	good := hs(nil)
	all := map[string]shown{
		"good, by secret":  {good, letIn, letIn},
		"good, by key":     {rs(nil), letIn, letIn},
		"several audience": {hs(claims{"aud": []string{"another", "notifier"}}), letIn, letIn},
		"much too long":    {strings.Repeat("a", 1<<20), tooLarge, tooLarge},
		"not UTF-8":        {"\xff\xfe.\xff.\xff", leftOut, garbled},
	}
	for name, token := range map[string]string{
		"expired": hs(claims{"exp": time.Now().Add(-time.Second).Unix()}), "no expiry": hs(claims{"exp": nil}),
		"expiry of another type": hs(claims{"exp": "never"}),
		"not yet valid":          hs(claims{"nbf": time.Now().Add(time.Hour).Unix()}), "issued in the future": hs(claims{"iat": time.Now().Add(time.Hour).Unix()}),
		"another audience": hs(claims{"aud": "another"}), "no audience": hs(claims{"aud": nil}), "another issuer": hs(claims{"iss": "another"}),
		"no user": hs(claims{"data": nil}), "user elsewhere": hs(claims{"data": nil, "sub": "alice", "data.id": nil, "id": "alice"}),
		"user of another type": hs(claims{"data": claims{"id": 7}}), "empty user": hs(claims{"data": claims{"id": ""}}), "user with NUL": hs(claims{"data": claims{"id": "a\x00"}}),
		"claims that are a list": signRaw(t, "HS256", sharedSecret, `{"alg":"HS256"}`, `["alice"]`),
		"a claim twice":          signRaw(t, "HS256", sharedSecret, `{"alg":"HS256"}`, strings.Replace(text, `{`, `{"aud":"another",`, 1)),
		"claims not UTF-8":       signRaw(t, "HS256", sharedSecret, `{"alg":"HS256"}`, strings.Replace(text, "alice", "al\xffice", 1)),
		"no signature":           none, "no signature, in capitals": strings.Replace(none, "eyJhbGciOiJub25lIi", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"NONE"`)), 1),
		"public key as a secret": signRaw(t, "HS256", []byte(publicPEM), `{"alg":"HS256"}`, text),
		"another key":            sign(t, "RS256", stranger, standard(nil)), "another secret": sign(t, "HS256", []byte("another secret of 32 bytes or more, too"), standard(nil)),
		"algorithm not configured": sign(t, "HS512", []byte(strings.Repeat("x", 64)), standard(nil)), "of the same key, too": sign(t, "PS256", airlayKey(), standard(nil)),
		"key in its header": signRaw(t, "HS256", []byte("mine"), `{"alg":"HS256","jwk":{"kty":"oct","k":"bWluZQ"}}`, text),
		"truncated":         good[:len(good)-1], "a part less": good[:strings.LastIndex(good, ".")], "a part more": good + ".x",
		"too long": good + strings.Repeat("A", 17<<10), "not a token": "x", "only dots": "..", "padded": good + "=",
		"a bit changed": flip(good),
	} {
		all[name] = shown{token, leftOut, leftOut}
	}
	return all
}

// flip changes the first character of a token's claims.
func flip(token string) string {
	at := strings.Index(token, ".") + 2
	changed := byte('A')
	if token[at] == changed {
		changed = 'B'
	}
	return token[:at] + string(changed) + token[at+1:]
}

func TestToken_EachKindInEachPlace(t *testing.T) {
	t.Parallel()
	config := asAirlay(t)
	config.Secret, config.Audience, config.Issuer = sharedSecret, "notifier", "an issuer"
	config.UserClaim, config.RolesClaim = "data.id", "data.roles"
	public, err := os.ReadFile(config.PublicKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	all := kinds(t, string(public))
	for _, anonymous := range []bool{false, true} {
		t.Run(fmt.Sprint("anonymous ", anonymous), func(t *testing.T) {
			t.Parallel()
			said := &spoken{}
			d := newDirectory("alice")
			s := setup(t, said.listen, guarded(t, d, config), func(c *httpapi.Config) { c.Anonymous = anonymous })
			for _, p := range everywhere() {
				for name, kind := range all {
					want := kind.request
					if strings.Contains(p.name, "by message") {
						want = kind.message
					}
					if got := p.show(s, kind.token); got != want {
						t.Errorf("a token that is %s in %s is %s, not %s", name, p.name, got, want)
					}
				}
			}
			said.tellsNothing(t, all, public)
		})
	}
}

// tellsNothing checks that nothing of a token or of a secret was logged, also
// not as part of a URL.
func (s *spoken) tellsNothing(t *testing.T, tokens map[string]shown, public []byte) {
	t.Helper()
	text := s.String()
	if !strings.Contains(text, "token refused") {
		t.Error("nothing was logged: nothing is shown")
	}
	secrets := map[string]string{"the secret": string(sharedSecret), "a query": "token=", "the user's id": "alice\x00"}
	block, _ := pem.Decode(public)
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Fatal(err)
	}
	for name, kind := range tokens {
		for part := range strings.SplitSeq(kind.token, ".") {
			if len(part) > 8 {
				secrets["a part of the token that is "+name] = part[:min(len(part), 64)]
			}
		}
	}
	for what, secret := range secrets {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s was logged: %s", what, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}
