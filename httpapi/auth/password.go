package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// MaxPassword is the longest password, in bytes.
const MaxPassword = 1024

// hashing is the cost and outcome of argon2id.
type hashing struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	sum     []byte
}

// The cost of new hashes: OWASP's first choice for argon2id with one thread.
const (
	hashMemory  = 19 << 10 // KiB
	hashPasses  = 2
	hashThreads = 1
	saltSize    = 16
	sumSize     = 32
)

// HashPassword returns what is stored of a password: argon2id with its cost and
// a salt of its own, in the PHC string format.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > MaxPassword {
		return "", fmt.Errorf("password does not have 1 to %d bytes", MaxPassword)
	}
	h := hashing{memory: hashMemory, passes: hashPasses, threads: hashThreads, salt: make([]byte, saltSize)}
	rand.Read(h.salt) // never returns an error
	h.sum = h.compute(password, sumSize)
	return h.String(), nil
}

// CheckHash returns an error if a text can't be compared with passwords.
func CheckHash(hash string) error {
	_, err := parseHash(hash)
	return err
}

// VerifyPassword compares a password with a stored hash. An empty hash stands
// for a user that there is not: it costs as much time, and is never right.
func VerifyPassword(hash, password string) (bool, error) {
	if hash == "" {
		unknown := hashing{memory: hashMemory, passes: hashPasses, threads: hashThreads, salt: make([]byte, saltSize)}
		unknown.compute(password, sumSize)
		return false, nil
	}
	h, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	sum := h.compute(password, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1, nil
}

func (h hashing) compute(password string, size uint32) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, size)
}

// String returns the PHC format.
func (h hashing) String() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, h.memory, h.passes, h.threads, encode(h.salt), encode(h.sum))
}

// parseHash reads the PHC format. Its errors don't repeat the hash. The bounds
// keep a row that somebody wrote from stopping the server.
func parseHash(text string) (hashing, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return hashing{}, errors.New("password hash is not argon2id in PHC format")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hashing{}, errors.New("password hash is of another version of argon2")
	}
	var h hashing
	_, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads)
	if err != nil || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.threads) {
		return hashing{}, errors.New("password hash has no readable cost")
	}
	if h.threads < 1 || h.threads > 16 || h.passes < 1 || h.passes > 16 || h.memory < 8*uint32(h.threads) || h.memory > 256<<10 {
		return hashing{}, errors.New("password hash has a cost out of bounds")
	}
	if h.salt, err = decodeField(parts[4], 8, 64); err == nil {
		h.sum, err = decodeField(parts[5], 16, 64)
	}
	return h, err
}

func decodeField(text string, least, most int) ([]byte, error) {
	field, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(field) < least || len(field) > most {
		return nil, errors.New("password hash has a salt or sum out of bounds")
	}
	return field, nil
}
