package main

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/certificate"
)

// servedCertificate is what a server shows at an address as it is logged.
func servedCertificate(t testing.TB, address string) (*x509.Certificate, error) {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(address, "tls://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is compared
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// madeCertificate makes a certificate in a folder of its own.
func madeCertificate(t testing.TB) (cert, key string, serial *big.Int) {
	t.Helper()
	cert, key, err := certificate.SelfSigned(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pair.Leaf.SerialNumber
}

// copyFile replaces a file by another one's content.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// One server is at several addresses, with and without TLS, and the certificate
// is replaced while it runs.
func TestServe_PlainAndTLS(t *testing.T) {
	t.Parallel()
	cert, key, first := madeCertificate(t)
	newCert, newKey, second := madeCertificate(t)
	p := start(t, []string{"NOTIFIER_DATABASE_URL=" + dbtest.New(t), "NOTIFIER_ANONYMOUS=true"}, "serve",
		"--addr", "127.0.0.1:0,tls://127.0.0.1:0,tls://localhost:0,127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	p.says(p.err, "msg=ready")
	all := p.addresses()
	if len(all) != 4 {
		t.Fatalf("it listens at %v", all)
	}
	for i, address := range all {
		secure := i == 1 || i == 2
		if strings.HasPrefix(address, "tls://") != secure {
			t.Errorf("address %d is %s", i, address)
		}
		if !secure {
			if got := status(t, "http://"+address+"/readyz"); got != 200 {
				t.Errorf("%s: status %d", address, got)
			}
			continue
		}
		if got, err := servedCertificate(t, address); err != nil || got.SerialNumber.Cmp(first) != 0 {
			t.Errorf("%s: %v", address, err)
		}
	}
	// A WebSocket over TLS hears of what is pushed over plain HTTP.
	w := start(t, []string{"SSL_CERT_FILE=" + cert}, "watch", "--url", "https://"+strings.TrimPrefix(all[1], "tls://"), "--user", "u")
	w.says(w.err, "watching")
	if code, _, err := run(t, nil, "push", "--url", "http://"+all[3], "--to", "u", "hello"); code != 0 {
		t.Fatalf("push: %s", err)
	}
	w.says(w.out, `"hello"`)

	copyFile(t, newKey, key)
	copyFile(t, newCert, cert)
	p.signal(syscall.SIGHUP)
	dbtest.Eventually(t, "the new certificate is used", func() bool {
		got, err := servedCertificate(t, all[2])
		return err == nil && got.SerialNumber.Cmp(second) == 0
	})
	if code, _, err := run(t, nil, "push", "--url", "http://"+all[0], "--to", "u", "again"); code != 0 {
		t.Fatalf("push: %s", err)
	}
	w.says(w.out, `"again"`)
	if text := w.err.String(); strings.Contains(text, "again") || strings.Count(text, "watching") > 1 {
		t.Errorf("the open connection did not stay: %s", text)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("code %d", code)
	}
}

// An address that can't be had is named, and nothing runs.
func TestServe_NamesTheAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cert, key, _ := madeCertificate(t)
	address := "tls://" + taken.Addr().String()
	code, _, text := run(t, []string{"NOTIFIER_DATABASE_URL=" + dbtest.New(t)}, "serve", "--anonymous",
		"--addr", "127.0.0.1:0,"+address, "--tls-cert", cert, "--tls-key", key)
	if code != exitFailed || !strings.Contains(text, `listen on`) || !strings.Contains(text, address) || strings.Contains(text, "msg=ready") {
		t.Errorf("code %d: %s", code, text)
	}
}

// What does not go together is told before anything starts.
func TestServe_TLSSettings(t *testing.T) {
	t.Parallel()
	cert, key, _ := madeCertificate(t)
	other, _, _ := madeCertificate(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no certificate":   {[]string{"--addr=tls://:0"}, "--tls-cert (NOTIFIER_TLS_CERT): is missing"},
		"no key":           {[]string{"--addr=tls://:0", "--tls-cert=" + cert}, "--tls-key (NOTIFIER_TLS_KEY): is missing"},
		"key alone":        {[]string{"--addr=tls://:0", "--tls-key=" + key}, "--tls-cert (NOTIFIER_TLS_CERT): is missing"},
		"both":             {[]string{"--addr=tls://:0", "--tls-cert=" + cert, "--tls-key=" + key, "--tls-self-signed"}, "--tls-self-signed"},
		"no use":           {[]string{"--addr=:0", "--tls-cert=" + cert, "--tls-key=" + key}, "has no tls:// address"},
		"self-signed idle": {[]string{"--addr=:0", "--tls-self-signed"}, "has no tls:// address"},
		"no address":       {[]string{"--addr=tls://"}, `"tls://" is neither host:port nor tls://host:port`},
		"no port":          {[]string{"--addr=tls://localhost"}, "is neither host:port"},
	} {
		if code, _, err := run(t, nil, append([]string{"serve", "--database-url=postgres://h/d", "--anonymous"}, c.args...)...); code != exitFailed || !strings.Contains(err, c.want) {
			t.Errorf("%s: code %d, %s", name, code, err)
		}
	}
	code, _, text := run(t, []string{"NOTIFIER_DATABASE_URL=" + dbtest.New(t)}, "serve", "--anonymous",
		"--addr=tls://127.0.0.1:0", "--tls-cert", other, "--tls-key", key)
	if code != exitFailed || !strings.Contains(text, other) || strings.Contains(text, "PRIVATE") {
		t.Errorf("another's key: code %d, %s", code, text)
	}
}

// dev's own certificate stays the same, as do its data.
func TestDev_KeepsItsCertificate(t *testing.T) {
	t.Parallel()
	folder := devFolder(t)
	var seen []*big.Int
	for range 2 {
		p, _, _ := dev(t, folder, "--tls-self-signed", "--addr=tls://127.0.0.1:0")
		got, err := servedCertificate(t, p.address())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, "tls", "cert.pem")
		if at := "https://" + strings.TrimPrefix(p.address(), "tls://"); !strings.Contains(p.out.String(), "SSL_CERT_FILE="+file) || !strings.Contains(p.out.String(), at) {
			t.Errorf("the hint is of no use: %s", p.out)
		}
		seen = append(seen, got.SerialNumber)
		p.signal(syscall.SIGTERM)
		if code := p.wait(); code != 0 {
			t.Fatalf("code %d", code)
		}
	}
	if seen[0].Cmp(seen[1]) != 0 {
		t.Error("after a restart it is another one")
	}
}
