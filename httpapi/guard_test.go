package httpapi_test

import (
	"strings"
	"testing"

	"example.com/notifier/httpapi"
)

func TestGuard_OriginsAndHosts(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) {
		c.AllowedOrigins = []string{"https://App.example.com", "http://dev.example.com:3000"}
		c.AllowedHosts = []string{"notify.example.com", "with-port.example.com:8080"}
	})
	for name, c := range map[string]struct {
		host, origin string
		allowed      bool
	}{
		"no origin, loopback address":  {"127.0.0.1:8080", "", true},
		"localhost":                    {"localhost:8080", "", true},
		"localhost without a port":     {"LocalHost", "", true},
		"below localhost":              {"app.localhost:8080", "", true},
		"final dot":                    {"localhost.:8080", "", true},
		"IPv6":                         {"[::1]:8080", "", true},
		"IPv6 without a port":          {"[2001:db8::1]", "", true},
		"another address":              {"192.168.1.7:8080", "", true},
		"listed host":                  {"notify.example.com", "", true},
		"listed host, any port":        {"NOTIFY.example.com:9999", "", true},
		"listed with a port":           {"with-port.example.com:8080", "", true},
		"listed with another port":     {"with-port.example.com:8081", "", false},
		"unlisted host":                {"evil.example.com", "", false},
		"looks like localhost":         {"localhost.example.com", "", false},
		"looks like an address":        {"127.0.0.1.example.com", "", false},
		"rebound name, own origin":     {"evil.example.com:8080", "http://evil.example.com:8080", false},
		"own origin":                   {"localhost:8080", "http://localhost:8080", true},
		"own origin, capitals":         {"LOCALHOST:8080", "HTTP://localhost:8080", true},
		"own origin, standard port":    {"notify.example.com", "https://notify.example.com", true},
		"own origin, port spelled out": {"notify.example.com:443", "https://notify.example.com", true},
		"own name, other port":         {"localhost:8080", "http://localhost:8081", false},
		"own address":                  {"[::1]:8080", "http://[::1]:8080", true},
		"listed origin":                {"localhost:8080", "https://app.example.com", true},
		"listed origin, port spelled":  {"localhost:8080", "https://app.example.com:443", true},
		"listed origin, other scheme":  {"localhost:8080", "http://app.example.com", false},
		"listed origin, with its port": {"localhost:8080", "http://dev.example.com:3000", true},
		"listed origin, other port":    {"localhost:8080", "http://dev.example.com:3001", false},
		"foreign page":                 {"localhost:8080", "https://evil.example.com", false},
		"listed name as a user":        {"localhost:8080", "https://app.example.com@evil.example.com", false},
		"listed name in a path":        {"localhost:8080", "https://evil.example.com/app.example.com", false},
		"page from a file":             {"127.0.0.1", "null", false},
		"page from a file, as a URL":   {"127.0.0.1", "file://", false},
		"browser extension":            {"127.0.0.1", "chrome-extension://abcdef", false},
		"the Qt client":                {"127.0.0.1", "sysadm-client", true},
		"nonsense with a scheme":       {"127.0.0.1", "http://[::1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := []string{"Host: " + c.host}
			if c.origin != "" {
				headers = append(headers, "Origin: "+c.origin)
			}
			s := s.in(t)
			for _, r := range []struct{ method, path, body string }{
				{"GET", "/clients", ""}, {"GET", "/livez", ""}, {"GET", "/unknown", ""}, {"POST", "/push_events", "[]"},
			} {
				status, _, text := s.request(r.method, r.path, r.body, append(headers, asJSON)...)
				if allowed := status != 403; allowed != c.allowed {
					t.Errorf("%s %s: status %d", r.method, r.path, status)
				}
				if status == 403 && !strings.Contains(text, "not allowed") {
					t.Errorf("no reason: %q", text)
				}
			}
			_, status := s.tryDial("/subscribe_to_events", headers...)
			if want := map[bool]int{true: 101, false: 403}[c.allowed]; status != want {
				t.Errorf("WebSocket: status %d, want %d", status, want)
			}
		})
	}
}

func TestGuard_SeveralOrigins(t *testing.T) {
	t.Parallel()
	s := setup(t)
	status, _, _ := s.request("GET", "/clients", "", "Origin: "+s.url, "Origin: http://evil.example.com")
	if status != 403 {
		t.Errorf("status %d: the second origin was not looked at", status)
	}
}

func TestGuard_NullAndAnyOriginCanBeListed(t *testing.T) {
	t.Parallel()
	null := setup(t, func(c *httpapi.Config) { c.AllowedOrigins = []string{"null"} })
	for origin, want := range map[string]int{"null": 200, "https://evil.example.com": 403} {
		if status, _, _ := null.request("GET", "/clients", "", "Origin: "+origin); status != want {
			t.Errorf("null listed: %s gets %d", origin, status)
		}
	}
	any := setup(t, func(c *httpapi.Config) { c.AllowedOrigins = []string{"*"} })
	for _, origin := range []string{"null", "https://evil.example.com"} {
		if status, _, _ := any.request("GET", "/clients", "", "Origin: "+origin); status != 200 {
			t.Errorf("* listed: %s gets %d", origin, status)
		}
	}
	if status, _, _ := any.request("GET", "/clients", "", "Host: evil.example.com"); status != 403 {
		t.Errorf("any origin lets any host in: %d", status)
	}
}

func TestNew_ReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := httpapi.New(httpapi.Config{
		AllowedOrigins: []string{"example.com", "http://a/b"}, AllowedHosts: []string{"*", "http://x"},
		MaxBody: -1, MaxList: -1, Drain: -1, MaxPushing: 5, SessionKey: make([]byte, 5),
	})
	if err == nil {
		t.Fatal("taken")
	}
	for _, part := range []string{
		"hub is missing", "store is missing", "ready is missing", "signing key has 5 bytes", `"example.com"`, `"http://a/b"`, `"*"`, `"http://x"`,
		"max body is negative", "max list is negative", "drain is negative",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("does not say %q:\n%v", part, err)
		}
	}
}

// A page's origin and the setting that lists it come to the same form, which
// stays as it is.
func FuzzOrigin(f *testing.F) {
	for _, text := range []string{"https://App.example.com", "http://[::1]:80", "null", "file://", "https://a:b@c", "http://a/", "http://İ", "http://]0", "http://a:1:80", "http://%a1", "http://%25"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		normal, ok := httpapi.NormalOrigin(text)
		if !ok {
			return
		}
		if err := httpapi.CheckOrigin(text); err != nil {
			t.Errorf("%q can't be listed: %v", text, err)
		}
		if again, ok := httpapi.NormalOrigin(normal); !ok || again != normal {
			t.Errorf("%q became %q, and that %q", text, normal, again)
		}
	})
}
