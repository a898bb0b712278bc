package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

const (
	// maxSource bounds a key file or the answer with a key set, in bytes.
	maxSource = 1 << 20
	// fetchTimeout bounds one request for a key set.
	fetchTimeout = 10 * time.Second

	firstRetry = time.Second
	lastRetry  = time.Minute
)

// source is one place that keys come from. Its keys may be read by anybody; all
// else belongs to whoever has the verifier's turn to refresh.
type source struct {
	setting string
	// ids: its keys have key ids, so a token with another one may be a reason
	// to look again.
	ids bool
	// remote: it may be out of reach when we start.
	remote bool
	every  time.Duration
	read   func(context.Context) ([]byte, error)
	parse  func([]byte) (keys []key, leftOut []error, err error)

	// keys is nil until they were loaded for the first time.
	keys atomic.Pointer[[]key]

	digest   [sha256.Size]byte
	due      time.Time
	failures int
}

func (c Config) sources() []*source {
	var sources []*source
	if c.PublicKeyFile != "" {
		sources = append(sources, &source{
			setting: "jwt-public-key", every: c.FileInterval, read: readFile(c.PublicKeyFile),
			parse: func(data []byte) ([]key, []error, error) {
				keys, err := parsePublicPEM(data, c.Algorithms)
				return keys, nil, err
			},
		})
	}
	set := func(data []byte) ([]key, []error, error) { return parseJWKS(data, c.Algorithms) }
	if c.JWKSFile != "" {
		sources = append(sources, &source{
			setting: "jwks-file", ids: true, every: c.FileInterval, read: readFile(c.JWKSFile), parse: set,
		})
	}
	if c.JWKSURL != "" {
		sources = append(sources, &source{
			setting: "jwks-url", ids: true, remote: true, every: c.URLInterval, read: readURL(c.HTTPClient, c.JWKSURL), parse: set,
		})
	}
	return sources
}

// load replaces the keys by what the source has now. If that can't be had or
// understood, the old keys stay.
func (s *source) load(ctx context.Context, logger *slog.Logger) error {
	data, err := s.read(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.setting, err)
	}
	digest := sha256.Sum256(data)
	if s.keys.Load() != nil && digest == s.digest {
		return nil
	}
	keys, leftOut, err := s.parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", s.setting, err)
	}
	s.digest = digest
	s.keys.Store(&keys)
	for _, reason := range leftOut {
		logger.WarnContext(ctx, "key left out", "setting", s.setting, "reason", reason)
	}
	logger.InfoContext(ctx, "token keys loaded", "setting", s.setting, "keys", len(keys))
	return nil
}

// schedule says when to load next, after a load that ended with an error or
// without.
func (s *source) schedule(now time.Time, err error) {
	if err == nil {
		s.failures = 0
		s.due = now.Add(s.every)
		return
	}
	wait := min(firstRetry<<min(s.failures, 10), lastRetry)
	s.failures++
	s.due = now.Add(wait/2 + rand.N(wait/2+1))
}

func (s *source) loaded() []key {
	if keys := s.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

func readFile(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return readPath(path) }
}

func readPath(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSource {
		return nil, fmt.Errorf("more than %d bytes", maxSource)
	}
	return data, nil
}

func readURL(client *http.Client, address string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		data, err := fetch(ctx, client, address)
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the URL around it may hold a password
		}
		return data, err
	}
}

func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answer is %d", response.StatusCode)
	}
	return readAll(response.Body)
}

// newHTTPClient returns a client that goes from https to nothing less.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		// One request in minutes needs no connection kept open.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("redirected five times")
			}
			if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return errors.New("redirected from https to something else")
			}
			return nil
		},
	}
}
