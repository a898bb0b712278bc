package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestHealth_IsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"NOTIFIER_DATABASE_URL=" + dbtest.New(t), "NOTIFIER_ANONYMOUS=true"},
		"serve", "--addr=tls://127.0.0.1:0,127.0.0.1:0", "--tls-self-signed", "--drain=1s")
	p.says(p.err, "msg=ready")
	for _, address := range p.addresses() {
		for _, question := range [][]string{{"health"}, {"health", "--live"}} {
			if code, out, err := run(t, []string{"NOTIFIER_ADDR=" + address}, question...); code != 0 || out != "ok\n" {
				t.Errorf("%v of %s: code %d, %q, %s", question, address, code, out, err)
			}
		}
	}
	// Who names a server by a URL is told whether it is that server.
	secure := "https://" + strings.TrimPrefix(p.address(), tlsPrefix)
	if code, _, err := run(t, nil, "health", "--url", secure); code != exitFailed || !strings.Contains(err, "certificate") {
		t.Errorf("a certificate that nobody has signed: code %d, %s", code, err)
	}
	address := p.addresses()[1]
	p.signal(syscall.SIGTERM)
	p.wait()
	if code, out, err := run(t, []string{"NOTIFIER_ADDR=" + address}, "health"); code != exitFailed || out != "" || !strings.Contains(err, "ask the server") {
		t.Errorf("of a server that is gone: code %d, %q, %s", code, out, err)
	}
}

func TestHealth_OfAServerThatIsNotReady(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not ready\x1b[2J\n"))
		}
	}))
	defer server.Close()
	code, out, err := run(t, []string{"NOTIFIER_URL=" + server.URL + "/"}, "health")
	if code != exitFailed || out != "" || !strings.Contains(err, "503") || !strings.Contains(err, "not ready") || strings.Contains(err, "\x1b") {
		t.Errorf("code %d, %q, %q", code, out, err)
	}
	if code, _, err := run(t, []string{"NOTIFIER_URL=" + server.URL}, "health", "--live"); code != 0 {
		t.Errorf("whether it lives: code %d, %s", code, err)
	}
}

func TestOwnURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		":8080":                 "http://127.0.0.1:8080",
		"0.0.0.0:80":            "http://127.0.0.1:80",
		"[::]:80":               "http://[::1]:80",
		"[::ffff:0.0.0.0]:80":   "http://127.0.0.1:80",
		"10.0.0.5:80":           "http://10.0.0.5:80",
		"notifier.example:80":   "http://notifier.example:80",
		"tls://:8443":           "https://127.0.0.1:8443",
		"tls://[2001:db8::1]:1": "https://[2001:db8::1]:1",
	} {
		if got := ownURL(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
