package certificate

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// selfSignedLife is how long a certificate of our own is valid; systems
	// that know limits refuse longer ones.
	selfSignedLife = 825 * 24 * time.Hour
	// selfSignedRenewal is how long before its end it is replaced.
	selfSignedRenewal = 30 * 24 * time.Hour
	// selfSignedBits is the size of its key. It is RSA because a client that
	// allows but one curve, as some do, can use no certificate on another one
	// before TLS 1.3.
	selfSignedBits = 2048
)

// SelfSigned returns the files of a certificate for development: for localhost,
// the loopback addresses and this host's name, signed by itself. It is made in
// the folder if there is none that can still be used, and stays the same from
// then on, so that whoever has accepted it need not again.
func SelfSigned(folder string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil && time.Until(pair.Leaf.NotAfter) > selfSignedRenewal {
		return certFile, keyFile, nil
	}
	if err := makeSelfSigned(folder, certFile, keyFile); err != nil {
		return "", "", fmt.Errorf("make a self-signed certificate: %w", err)
	}
	return certFile, keyFile, nil
}

func makeSelfSigned(folder, certFile, keyFile string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // the certificate is public
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, selfSignedBits)
	if err != nil {
		return err
	}
	template := leaf()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: a certificate without it would be taken for a broken pair,
	// a key without a certificate is made anew as well.
	return errors.Join(
		replaceFile(keyFile, "PRIVATE KEY", private, 0o600),
		replaceFile(certFile, "CERTIFICATE", der, 0o644),
	)
}

// leaf describes a certificate that signs no others: some clients take one that
// is signed by itself, and none that an unknown authority has signed.
func leaf() *x509.Certificate {
	now := time.Now()
	number, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never returns an error
	c := &x509.Certificate{
		SerialNumber:          number,
		Subject:               pkix.Name{CommonName: "localhost", Organization: []string{"notifier, for development"}},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" && name != "" {
		c.DNSNames = append(c.DNSNames, name)
	}
	return c
}

// replaceFile writes a file in one step, so that nobody reads half of it.
func replaceFile(path, kind string, der []byte, mode fs.FileMode) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(temporary, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
