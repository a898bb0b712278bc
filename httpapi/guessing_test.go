package httpapi_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/proxies"
)

// visitor makes requests from an address of its own.
type visitor struct {
	t      *testing.T
	base   string
	client *http.Client
}

func (s *system) visitor(address string) *visitor {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &visitor{s.t, "http://" + s.addr, &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}}
}

// get returns the status of the answer to a request, 0 if the test is over.
func (v *visitor) get(ctx context.Context, path string, credential func(*http.Request)) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+path, nil)
	if err != nil {
		v.t.Error(err)
		return 0
	}
	credential(r)
	answer, err := v.client.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			v.t.Error(err)
		}
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// logIn asks for a token by a password.
func (v *visitor) logIn(ctx context.Context, user, password string) int {
	return v.get(ctx, "/api/v3/users/"+user+"/token", func(r *http.Request) { r.SetBasicAuth(user, password) })
}

// Whoever guesses, from however many addresses, and whatever comes along as a
// token meanwhile: the user whose password it is logs in, from where she always
// did and from where she never was, and so does everybody else.
func TestGuessing_KeepsNobodyOut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8")
	}
	t.Parallel()
	url := dbtest.New(t)
	hash, err := hashOf()
	if err != nil {
		t.Fatal(err)
	}
	exec(t, dbtest.Connect(t, url), `INSERT INTO notifier.users (user_id, password_hash) VALUES ('alice', $1), ('bob', $1)`, hash)
	s := closedInstance(t, url)
	home := s.visitor("127.0.0.1")
	if status := home.logIn(t.Context(), "alice", rightPassword); status != http.StatusOK {
		t.Fatalf("logging in: status %d", status)
	}

	ctx, end := context.WithCancel(t.Context())
	defer end()
	var attack sync.WaitGroup
	var guesses, refused, junk atomic.Int64
	for n := range 16 {
		attack.Go(func() { // ends with ctx
			for i := 0; ctx.Err() == nil; i++ {
				guesser := s.visitor(fmt.Sprintf("127.1.%d.%d", n, i%8+1))
				switch status := guesser.logIn(ctx, "alice", fmt.Sprint("guess ", n, i)); status {
				case http.StatusOK:
					t.Error("a guess was right")
				case http.StatusTooManyRequests, http.StatusServiceUnavailable:
					refused.Add(1)
				}
				guesser.client.CloseIdleConnections()
				guesses.Add(1)
			}
		})
	}
	for n := range 2 {
		attack.Go(func() { // ends with ctx
			liar := s.visitor(fmt.Sprintf("127.2.0.%d", n+1))
			defer liar.client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				liar.get(ctx, "/api/v3/info", func(r *http.Request) {
					r.Header.Set("Authorization", fmt.Sprintf("Bearer eyJhbGciOiJIUzI1NiJ9.e30.%d", i))
				})
				junk.Add(1)
			}
		})
	}
	for round := range 2 {
		for _, who := range []struct{ user, from string }{
			{"alice", "127.0.0.1"}, {"bob", "127.0.0.1"},
			{"alice", fmt.Sprintf("127.3.0.%d", round+1)}, {"bob", fmt.Sprintf("127.3.0.%d", round+1)},
		} {
			v := s.visitor(who.from)
			status := v.logIn(t.Context(), who.user, rightPassword)
			for status == http.StatusServiceUnavailable && who.from != "127.0.0.1" {
				status = v.logIn(t.Context(), who.user, rightPassword) // as a stranger may be told to
			}
			if status != http.StatusOK {
				t.Errorf("round %d: %s is answered by %d, from %s", round, who.user, status, who.from)
			}
			v.client.CloseIdleConnections()
		}
	}
	home.client.CloseIdleConnections()
	end()
	attack.Wait()
	t.Logf("%d guesses, of which %d were not looked at, and %d bad tokens", guesses.Load(), refused.Load(), junk.Load())
}

// Behind a trusted proxy, guesses count for the client it names, and a password
// is taken if the proxy says that it came encrypted.
func TestGuessing_BehindAProxy(t *testing.T) {
	t.Parallel()
	trusted, err := proxies.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	d := newDirectory("alice")
	d.setAccount("alice", account(t))
	s := setup(t, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.Proxies = trusted })
	logIn := func(from, proto, password string) int {
		v := s.visitor("127.0.0.1")
		defer v.client.CloseIdleConnections()
		return v.get(t.Context(), "/api/v3/users/alice/token", func(r *http.Request) {
			r.SetBasicAuth("alice", password)
			r.Header.Set("X-Forwarded-For", from)
			r.Header.Set("X-Forwarded-Proto", proto)
		})
	}
	last := 0
	for range 10 {
		last = logIn("192.0.2.1", "https", "guess")
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the tenth guess is answered by %d", last)
	}
	for from, want := range map[string]int{"192.0.2.1": http.StatusTooManyRequests, "192.0.2.2": http.StatusOK} {
		if got := logIn(from, "https", rightPassword); got != want {
			t.Errorf("the right password from %s is answered by %d, want %d", from, got, want)
		}
	}
	if got := logIn("192.0.2.3", "http", rightPassword); got != http.StatusForbidden {
		t.Errorf("the right password over plain HTTP is answered by %d", got)
	}
}
