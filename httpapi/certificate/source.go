package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// DefaultInterval is how often the files are looked at.
const DefaultInterval = 5 * time.Second

// Config is what a [Source] is made from.
type Config struct {
	// CertFile holds the certificate, in PEM, and after it those that lead from
	// it to the issuer that clients know; KeyFile its private key. Both are
	// required.
	CertFile, KeyFile string
	// Interval is how often the files are looked at; 0: [DefaultInterval].
	Interval time.Duration
	// Logger is told of each new certificate and of each that can't be used;
	// nil: nobody is.
	Logger *slog.Logger
}

// Source is a certificate in two files that may be replaced at any time.
// Connections that are open keep what they began with.
type Source struct {
	config  Config
	current atomic.Pointer[tls.Certificate]
	wake    chan struct{}

	// Only Run uses these, after Open.
	cert, key []byte // what was read last, good or bad
}

// Open reads the certificate, which must be good.
func Open(c Config) (*Source, error) {
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{config: c, wake: make(chan struct{}, 1)}
	if _, err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// TLS returns the configuration of a listener: TLS 1.2 and newer, with Go's own
// choice of curves (P-384 is among them, which some clients insist on) and
// ciphers. HTTP/2 comes first; a WebSocket's client asks for HTTP/1.1 alone, or
// for nothing.
func (s *Source) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil },
	}
}

// Run looks at the files until the context ends. They are compared by what is in
// them: times and names tell too little where files are links that are switched.
// What can't be used is told once and leaves the last good certificate in force.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(s.config.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
		fresh, err := s.read()
		switch {
		case !fresh:
		case err != nil:
			s.config.Logger.Error("the new certificate can't be used; the old one stays", "error", err)
		default:
			s.config.Logger.Info("certificate replaced", "not_after", s.current.Load().Leaf.NotAfter)
		}
	}
}

// Reload has Run look at the files at once.
func (s *Source) Reload() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to
	}
}

// read takes what is in the files into use. It is not fresh if that was read
// before, whether it was good or not.
func (s *Source) read() (fresh bool, err error) {
	cert, certErr := os.ReadFile(s.config.CertFile)
	key, keyErr := os.ReadFile(s.config.KeyFile)
	if s.cert != nil && bytes.Equal(cert, s.cert) && bytes.Equal(key, s.key) {
		return false, nil
	}
	s.cert, s.key = append([]byte{}, cert...), key
	if err := errors.Join(certErr, keyErr); err != nil {
		return true, fmt.Errorf("read certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("certificate %q with key %q: %w", s.config.CertFile, s.config.KeyFile, err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		s.config.Logger.Warn("the certificate is not valid now: clients that check it will refuse it",
			"not_before", pair.Leaf.NotBefore, "not_after", pair.Leaf.NotAfter)
	}
	s.current.Store(&pair)
	return true, nil
}
