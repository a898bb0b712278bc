package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"example.com/notifier/httpapi/certificate"
	"example.com/notifier/httpapi/proxies"
)

// tlsPrefix marks the addresses where TLS is spoken.
const tlsPrefix = "tls://"

// tlsConfig is where the certificate comes from.
type tlsConfig struct {
	cert, key  string
	selfSigned bool
}

func (c *tlsConfig) define(s *settings) {
	s.Section("TLS")
	define(s, "tls-cert", "file", "", "PEM file with the certificate for tls:// addresses, and those between it and its authority", &c.cert, parseText)
	define(s, "tls-key", "file", "", "PEM file with its private key", &c.key, parseText)
	defineSwitch(s, "tls-self-signed", "use a certificate signed by itself, made when there is none: for development", &c.selfSigned)
}

func (c *tlsConfig) problems(addresses []string) []error {
	var problems []error
	needed := false
	for _, address := range addresses {
		needed = needed || strings.HasPrefix(address, tlsPrefix)
	}
	given := c.cert != "" || c.key != ""
	switch {
	case given && c.selfSigned:
		problems = append(problems, named("tls-self-signed", "is on, but a certificate is given: one of them is too much"))
	case c.cert != "" && c.key == "":
		problems = append(problems, named("tls-key", "is missing for --tls-cert"))
	case c.key != "" && c.cert == "":
		problems = append(problems, named("tls-cert", "is missing for --tls-key"))
	case needed && !given && !c.selfSigned:
		problems = append(problems, named("tls-cert", "is missing for the tls:// address, and so is --tls-key; for development there is --tls-self-signed"))
	}
	if !needed && (given || c.selfSigned) {
		problems = append(problems, named("addr", "has no tls:// address that the certificate could be for"))
	}
	return problems
}

// open reads the certificate; one that is signed by itself is kept in the folder,
// and own is its file. Without a setting there is none.
func (c *tlsConfig) open(folder string, logger *slog.Logger) (source *certificate.Source, own string, err error) {
	config := certificate.Config{CertFile: c.cert, KeyFile: c.key, Logger: logger}
	switch {
	case c.selfSigned && folder == "":
		return nil, "", errors.New("there is no home folder to keep the self-signed certificate in: give --tls-cert and --tls-key")
	case c.selfSigned:
		if config.CertFile, config.KeyFile, err = certificate.SelfSigned(filepath.Join(folder, "tls")); err != nil {
			return nil, "", err
		}
		own = config.CertFile
		logger.Info("self-signed certificate", "file", own)
	case c.cert == "":
		return nil, "", nil
	}
	source, err = certificate.Open(config)
	return source, own, err
}

// listener is one of the addresses where the server is.
type listener struct {
	net.Listener
	secure bool
}

// listen takes an address. Trusted proxies may say there who their client is,
// also before TLS begins.
func listen(ctx context.Context, address string, source *certificate.Source, trusted proxies.Trusted) (listener, error) {
	plain, secure := strings.CutPrefix(address, tlsPrefix)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", plain)
	if err != nil {
		return listener{}, fmt.Errorf("listen on %q: %w", address, err)
	}
	l = trusted.Listener(l)
	if secure {
		l = tls.NewListener(l, source.TLS())
	}
	return listener{l, secure}, nil
}

// address is as it would be set: a free port that was asked for is known now.
func (l listener) address() string {
	if l.secure {
		return tlsPrefix + l.Addr().String()
	}
	return l.Addr().String()
}

// url is what a client on this host calls.
func (l listener) url() string {
	if l.secure {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}
