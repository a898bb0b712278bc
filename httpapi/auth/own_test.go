package auth_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi/auth"
)

func newSigner(t testing.TB, key byte, c *clock) *auth.Signer {
	t.Helper()
	s, err := auth.NewSigner(bytes.Repeat([]byte{key}, auth.KeySize), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSigner_RoundTrips(t *testing.T) {
	t.Parallel()
	clock := newClock()
	for _, user := range []string{"a", "ünï", strings.Repeat("u", auth.MaxUser)} {
		for _, generation := range []int64{0, 1, -1, 1<<63 - 1} {
			token, expires, err := newSigner(t, 1, clock).Issue(user, "drp", generation, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,500}$`).MatchString(token) || !auth.IsSession(token) {
				t.Errorf("session %q", token)
			}
			got, err := newSigner(t, 1, clock).Verify(token, "drp") // of another instance
			wantReason(t, err, "")
			if got.User != user || got.Purpose != "drp" || got.Generation != generation ||
				!got.Issued.Equal(clock.Now()) || !got.Expires.Equal(clock.Now().Add(time.Hour)) || !got.Expires.Equal(expires) || len(got.Fingerprint) != 16 {
				t.Errorf("%+v", got)
			}
		}
	}
}

func TestSigner_RefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newSigner(t, 1, clock)
	token, _, err := s.Issue("alice", "drp", 7, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(s *auth.Signer, token, purpose string) error {
		_, err := s.Verify(token, purpose)
		return err
	}
	if err := verify(s, "", "drp"); !errors.Is(err, auth.ErrMissing) {
		t.Errorf("no session: %v", err)
	}
	wantReason(t, verify(newSigner(t, 2, clock), token, "drp"), auth.ReasonSignature)
	wantReason(t, verify(s, token, "sysadm"), auth.ReasonPurpose)
	wantReason(t, verify(s, token, ""), auth.ReasonPurpose)
	if _, err := s.Verify(token); err == nil {
		t.Error("it is good for nothing in particular")
	}
	if _, err := s.Verify(token, "sysadm", "drp"); err != nil {
		t.Errorf("one of two purposes: %v", err)
	}
	for _, bad := range []string{
		"ntf1_", "ntf1_AAAA", token[5:], "NTF1_" + token[5:], token + "\n", token[:20] + "\n" + token[20:], token + "=", " " + token,
		sign(t, "HS256", testKeys().secret, nil, standard(nil)), "ntf1_" + strings.Repeat("A", 500), strings.Repeat("A", 1<<20),
	} {
		wantReason(t, verify(s, bad, "drp"), auth.ReasonMalformed)
	}
	for i := range len(token) {
		changed := []byte(token)
		changed[i] = 'A' + (changed[i]+1)%26
		if verify(s, token[:i], "drp") == nil || verify(s, string(changed), "drp") == nil {
			t.Errorf("byte %d may be missing or another one", i)
		}
	}
	clock.Advance(time.Hour - 1)
	wantReason(t, verify(s, token, "drp"), "")
	clock.Advance(1)
	wantReason(t, verify(s, token, "drp"), auth.ReasonExpired)
}

func TestSigner_RefusesToIssueNonsense(t *testing.T) {
	t.Parallel()
	s := newSigner(t, 1, newClock())
	for _, test := range []struct {
		user, purpose string
		ttl           time.Duration
	}{
		{"", "drp", time.Hour},
		{"a\x00", "drp", time.Hour},
		{strings.Repeat("u", 257), "drp", time.Hour},
		{"alice", "", time.Hour},
		{"alice", strings.Repeat("p", 33), time.Hour},
		{"alice", "drp", 0},
	} {
		if token, _, err := s.Issue(test.user, test.purpose, 0, test.ttl); err == nil {
			t.Errorf("%+v: %s", test, token)
		}
	}
	for _, size := range []int{0, 31, 33} {
		if _, err := auth.NewSigner(make([]byte, size), nil); err == nil {
			t.Errorf("a key of %d bytes is taken", size)
		}
	}
}

func FuzzSigner_Verify(f *testing.F) {
	clock := newClock()
	s := newSigner(f, 1, clock)
	token, _, err := s.Issue("alice", "drp", 7, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("ntf1_AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if session, err := s.Verify(text, "drp"); err == nil && text != token {
			t.Errorf("%q is taken for %+v", text, session)
		}
	})
}
