package certificate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi/certificate"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for a fact before it gives up.
const patience = time.Minute

// logText is what a logger has written so far.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// pair is a certificate in two files.
type pair struct{ cert, key string }

// makePair makes a certificate in a folder of its own.
func makePair(t testing.TB) pair {
	t.Helper()
	cert, key, err := certificate.SelfSigned(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

func (p pair) read(t testing.TB) (cert, key []byte, serial *big.Int) {
	t.Helper()
	loaded, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, certErr := os.ReadFile(p.cert)
	key, keyErr := os.ReadFile(p.key)
	if certErr != nil || keyErr != nil {
		t.Fatal(certErr, keyErr)
	}
	return cert, key, loaded.Leaf.SerialNumber
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// echo is a server that sends back what it gets, with TLS by a source that runs.
type echo struct {
	t      *testing.T
	addr   string
	source *certificate.Source
	log    *logText
}

func serve(t *testing.T, p pair, interval time.Duration) *echo {
	t.Helper()
	log := &logText{}
	source, err := certificate.Open(certificate.Config{CertFile: p.cert, KeyFile: p.key, Interval: interval, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := tls.NewListener(plain, source.TLS())
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the test
		if err := source.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { // ends when the listener is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // ends when the client closes
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		stop()
		l.Close()
		wg.Wait()
	})
	return &echo{t, plain.Addr().String(), source, log}
}

// dial returns a connection and the number of the certificate it began with.
func (e *echo) dial() (*tls.Conn, *big.Int) {
	e.t.Helper()
	c, err := tls.Dial("tcp", e.addr, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it looks at the certificate itself
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c, c.ConnectionState().PeerCertificates[0].SerialNumber
}

// comesTo waits until a new connection begins with that certificate.
func (e *echo) comesTo(want *big.Int) {
	e.t.Helper()
	e.eventually("a connection begins with the certificate", func() bool {
		c, serial := e.dial()
		_ = c.Close()
		return serial.Cmp(want) == 0
	})
}

func (e *echo) eventually(what string, condition func() bool) {
	e.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatalf("not in time: %s", what)
		}
	}
}

// echoes checks that a connection is alive.
func (e *echo) echoes(c *tls.Conn) {
	e.t.Helper()
	got := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		e.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		e.t.Fatalf("%q, %v", got, err)
	}
}

// A certificate that is renewed counts for new connections; old ones stay.
func TestSource_TakesWhatReplacesTheFiles(t *testing.T) {
	t.Parallel()
	mine, first, second := makePair(t), makePair(t), makePair(t)
	e := serve(t, mine, 5*time.Millisecond)
	old, _ := e.dial()
	for _, next := range []pair{first, second} {
		cert, key, serial := next.read(t)
		write(t, mine.cert, cert)
		write(t, mine.key, key)
		e.comesTo(serial)
		e.echoes(old)
	}
}

// Where certificates are mounted, the files are links, and what they lead to is
// switched: nothing about the link itself changes.
func TestSource_FollowsLinks(t *testing.T) {
	t.Parallel()
	first, second := makePair(t), makePair(t)
	folder := t.TempDir()
	current := filepath.Join(folder, "current")
	link := func(p pair) {
		t.Helper()
		if err := os.Symlink(filepath.Dir(p.cert), current+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(current+".new", current); err != nil {
			t.Fatal(err)
		}
	}
	link(first)
	e := serve(t, pair{filepath.Join(current, "cert.pem"), filepath.Join(current, "key.pem")}, 5*time.Millisecond)
	link(second)
	_, _, serial := second.read(t)
	e.comesTo(serial)
}

// Reload does not wait for the next look.
func TestSource_ReloadLooksAtOnce(t *testing.T) {
	t.Parallel()
	mine, next := makePair(t), makePair(t)
	e := serve(t, mine, 24*time.Hour)
	cert, key, serial := next.read(t)
	write(t, mine.cert, cert)
	write(t, mine.key, key)
	e.source.Reload()
	e.comesTo(serial)
}

// What can't be used leaves the old certificate in force and is told once; then
// whatever is good counts again.
func TestSource_KeepsTheOldWhenTheNewIsBroken(t *testing.T) {
	t.Parallel()
	mine, next := makePair(t), makePair(t)
	_, _, was := mine.read(t)
	e := serve(t, mine, 2*time.Millisecond)
	cert, key, serial := next.read(t)
	const complaint = "the new certificate can't be used"
	for i, broken := range []func(){
		func() { write(t, mine.cert, cert) }, // half of the pair
		func() { write(t, mine.cert, cert[:len(cert)/2]) },
		func() { write(t, mine.cert, nil) },
		func() { write(t, mine.cert, key) },
		func() {
			if err := os.Remove(mine.cert); err != nil {
				t.Fatal(err)
			}
		},
	} {
		before := e.log.count(complaint)
		broken()
		e.eventually("it is told", func() bool { return e.log.count(complaint) > before })
		if c, serial := e.dial(); serial.Cmp(was) != 0 {
			t.Errorf("broken in way %d: the old certificate is not used", i)
		} else {
			e.echoes(c)
		}
	}
	told := e.log.count(complaint)
	write(t, mine.key, key)
	write(t, mine.cert, cert)
	e.comesTo(serial)
	if after := e.log.count(complaint); after > told+1 { // the key alone may have been seen
		t.Errorf("told %d times more", after-told)
	}
	if e.log.count("PRIVATE") > 0 || e.log.count(string(key[40:80])) > 0 {
		t.Error("the log shows a key")
	}
}

func TestOpen_RefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	one, other := makePair(t), makePair(t)
	for name, p := range map[string]pair{
		"another's key": {one.cert, other.key}, "no certificate": {one.cert + "x", one.key}, "no key": {one.cert, one.key + "x"},
		"swapped": {one.key, one.cert}, "nothing": {},
	} {
		if _, err := certificate.Open(certificate.Config{CertFile: p.cert, KeyFile: p.key}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Old protocols are refused; a client of one curve alone is not.
func TestSource_VersionsAndCurves(t *testing.T) {
	t.Parallel()
	e := serve(t, makePair(t), time.Hour)
	for _, c := range []struct {
		name string
		with *tls.Config
		want bool
	}{
		{"TLS 1.0", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"P-384 by TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.CurveP384}}, true},
		{"P-384 by TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP384}}, true},
	} {
		c.with.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", e.addr, c.with)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			e.echoes(conn)
			_ = conn.Close()
		}
	}
}

// Each gets what it asks for: HTTP/2 if it can, HTTP/1.1 if it asks for that or
// for nothing.
func TestSource_ChoosesTheProtocol(t *testing.T) {
	t.Parallel()
	e := serve(t, makePair(t), time.Hour)
	for want, offers := range map[string][][]string{
		"h2": {{"h2"}, {"http/1.1", "h2"}}, "http/1.1": {{"http/1.1"}, {"http/1.1", "x"}}, "": {nil},
	} {
		for _, offer := range offers {
			c, err := tls.Dial("tcp", e.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: offer}) //nolint:gosec // nothing is sent
			if err != nil {
				t.Errorf("%v: %v", offer, err)
				continue
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != want {
				t.Errorf("%v: %q, want %q", offer, got, want)
			}
			_ = c.Close()
		}
	}
}

// A certificate for development is a leaf that is signed by itself, for this
// host by all its names.
func TestSelfSigned_IsForThisHost(t *testing.T) {
	t.Parallel()
	p := makePair(t)
	loaded, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := loaded.Leaf
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", host} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil || leaf.IsCA || len(loaded.Certificate) != 1 {
		t.Errorf("signed by itself: %v, an authority: %v, %d certificates", err, leaf.IsCA, len(loaded.Certificate))
	}
	if info, err := os.Stat(p.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key is readable: %v, %v", info.Mode(), err)
	}
}

// It stays the same, unless it can't be used any more.
func TestSelfSigned_StaysTheSame(t *testing.T) {
	t.Parallel()
	p := makePair(t)
	folder := filepath.Dir(p.cert)
	again := func() *big.Int {
		t.Helper()
		if _, _, err := certificate.SelfSigned(folder); err != nil {
			t.Fatal(err)
		}
		_, _, serial := p.read(t)
		return serial
	}
	_, _, first := p.read(t)
	if again().Cmp(first) != 0 {
		t.Error("another one for the same folder")
	}
	_, otherKey, _ := makePair(t).read(t)
	write(t, p.key, otherKey)
	second := again()
	if second.Cmp(first) == 0 {
		t.Error("a broken pair is not replaced")
	}
	if err := os.Remove(p.cert); err != nil {
		t.Fatal(err)
	}
	if again().Cmp(second) == 0 {
		t.Error("a lost certificate came back")
	}
}
