package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// KeySize is the size of a [Signer]'s key in bytes.
const KeySize = 32

const (
	// signerPrefix makes our sessions recognizable, to people and to tools that
	// look for leaked secrets. A JSON Web Token has dots and never begins so.
	signerPrefix = "ntf1_"
	// signerInfo separates this use of the key from all others.
	signerInfo = "notifier session 1"
	maxPurpose = 32
	// sessionHead is three numbers and two lengths.
	sessionHead = 3*8 + 1 + 2
)

// Session is what a token of our own says. Times are whole seconds.
type Session struct {
	User string
	// Purpose keeps what is issued for one use out of others; 1 to 32 bytes.
	Purpose string
	Issued  time.Time
	Expires time.Time
	// Generation is the user's when the session began. It grows with every new
	// password and when the user is disabled; the caller must compare it.
	Generation int64
	// Fingerprint is that of the token, once it is verified; see [Identity].
	Fingerprint string
}

// Signer makes and reads sessions: text of letters, digits, - and _, at most
// 500 bytes. Every instance with the same key reads those of all others.
type Signer struct {
	key   []byte
	clock func() time.Time
}

// NewSigner returns a signer with a key of [KeySize] random bytes. A nil clock
// is [time.Now].
func NewSigner(key []byte, clock func() time.Time) (*Signer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("signing key has %d bytes, not %d", len(key), KeySize)
	}
	derived, err := hkdf.Key(sha256.New, key, nil, signerInfo, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive signing key: %w", err)
	}
	if clock == nil {
		clock = time.Now
	}
	return &Signer{key: derived, clock: clock}, nil
}

// IsSession tells whether a text claims to be a session of ours rather than a
// JSON Web Token.
func IsSession(token string) bool { return strings.HasPrefix(token, signerPrefix) }

// Issue returns the token of a session that begins now, and when it ends.
func (s *Signer) Issue(user, purpose string, generation int64, ttl time.Duration) (token string, expires time.Time, err error) {
	if err := checkUser(user); err != nil {
		return "", expires, fmt.Errorf("issue session: %w", err)
	}
	if purpose == "" || len(purpose) > maxPurpose {
		return "", expires, fmt.Errorf("issue session: purpose does not have 1 to %d bytes", maxPurpose)
	}
	if ttl < time.Second {
		return "", expires, fmt.Errorf("issue session: ttl %v is less than a second", ttl)
	}
	now := s.clock()
	expires = time.Unix(now.Add(ttl).Unix(), 0)
	data := Session{User: user, Purpose: purpose, Issued: now, Expires: expires, Generation: generation}.append(nil)
	return signerPrefix + base64.RawURLEncoding.EncodeToString(append(data, s.mac(data)...)), expires, nil
}

// Verify returns the session if it is ours, for one of these purposes, and not
// over; if not, [ErrMissing] or a [TokenError]. The generation is not checked.
func (s *Signer) Verify(token string, purposes ...string) (Session, error) {
	if token == "" {
		return Session{}, ErrMissing
	}
	text, ours := strings.CutPrefix(token, signerPrefix)
	if !ours || len(token) > 500 || strings.ContainsAny(text, "\r\n") {
		return Session{}, invalid(ReasonMalformed)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) < sha256.Size {
		return Session{}, invalid(ReasonMalformed)
	}
	data, mac := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if !hmac.Equal(mac, s.mac(data)) {
		return Session{}, invalid(ReasonSignature)
	}
	session, err := parseSession(data)
	switch {
	case err != nil:
		return Session{}, invalid(ReasonMalformed)
	case !slices.Contains(purposes, session.Purpose):
		return Session{}, invalid(ReasonPurpose)
	case !s.clock().Before(session.Expires):
		return Session{}, invalid(ReasonExpired)
	}
	session.Fingerprint = fingerprint(token)
	return session, nil
}

func (s *Signer) mac(data []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(data)
	return h.Sum(nil)
}

func (s Session) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Issued.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Expires.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(s.Generation))
	b = append(b, byte(len(s.Purpose)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.User)))
	b = append(b, s.Purpose...)
	return append(b, s.User...)
}

// parseSession reads what append wrote. The data is authentic, but may be that
// of another version.
func parseSession(b []byte) (Session, error) {
	if len(b) < sessionHead {
		return Session{}, errors.New("too short")
	}
	second := func(at int) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(b[at:])), 0) }
	s := Session{Issued: second(0), Expires: second(8), Generation: int64(binary.BigEndian.Uint64(b[16:]))}
	purpose, user := int(b[24]), int(binary.BigEndian.Uint16(b[25:]))
	text := string(b[sessionHead:])
	if len(text) != purpose+user || !utf8.ValidString(text) {
		return Session{}, errors.New("lengths differ")
	}
	s.Purpose, s.User = text[:purpose], text[purpose:]
	return s, checkUser(s.User)
}
