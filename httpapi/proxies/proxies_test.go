package proxies_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"example.com/notifier/httpapi/proxies"
)

func trusted(t testing.TB, list ...string) proxies.Trusted {
	t.Helper()
	all, err := proxies.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestParse(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprint(trusted(t, "10.1.2.3/8", "192.168.0.1", "::1", "fd00::/8", "::ffff:1.2.3.4")); got != "[10.0.0.0/8 192.168.0.1/32 ::1/128 fd00::/8 1.2.3.4/32]" {
		t.Errorf("read %s", got)
	}
	for _, bad := range []string{"", "10.0.0.0/33", "proxy.example", "10.0.0.1:80", "*"} {
		if _, err := proxies.Parse([]string{"10.0.0.1", bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	all := trusted(t, "10.0.0.0/8", "::1")
	for name, c := range map[string]struct {
		from       string
		header     http.Header
		want       string
		encrypted  bool
		knowsProto bool
	}{
		"no proxy":                 {"1.2.3.4:5", nil, "1.2.3.4:5", false, false},
		"a client that pretends":   {"1.2.3.4:5", http.Header{"X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Proto": {"https"}}, "1.2.3.4:5", false, false},
		"a proxy that says no one": {"10.0.0.1:5", nil, "10.0.0.1:5", false, true},
		"a proxy":                  {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https"}}, "1.2.3.4:0", true, true},
		"over plain HTTP":          {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https, http"}}, "1.2.3.4:0", false, true},
		"what the client made up":  {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"9.9.9.9, 1.2.3.4"}}, "1.2.3.4:0", false, true},
		"in headers of its own":    {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"9.9.9.9", "1.2.3.4"}}, "1.2.3.4:0", false, true},
		"two proxies":              {"[::1]:5", http.Header{"X-Forwarded-For": {"9.9.9.9, 1.2.3.4,10.0.0.7"}}, "1.2.3.4:0", false, true},
		"proxies alone":            {"[::1]:5", http.Header{"X-Forwarded-For": {"10.0.0.8,10.0.0.7"}}, "10.0.0.8:0", false, true},
		"IPv6 and ports":           {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"[2001:db8::1]:443"}}, "[2001:db8::1]:0", false, true},
		"IPv4 inside of IPv6":      {"[::ffff:10.0.0.1]:5", http.Header{"X-Forwarded-For": {"::ffff:1.2.3.4"}}, "1.2.3.4:0", false, true},
		"unknown":                  {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4, unknown"}}, "10.0.0.1:5", false, true},
		"nothing between commas":   {"10.0.0.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4,,"}}, "10.0.0.1:5", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.from
			maps.Copy(r.Header, c.header)
			all.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				encrypted, told := proxies.Encrypted(r)
				if r.RemoteAddr != c.want || encrypted != c.encrypted || told != c.knowsProto {
					t.Errorf("comes from %s, encrypted %v, told %v", r.RemoteAddr, encrypted, told)
				}
			})).ServeHTTP(nil, r)
		})
	}
}

// Whatever a header holds, a request comes from a valid address, and one that is
// not a proxy's own unless all are.
func FuzzHandler(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.1")
	f.Add(",,[::1]:x")
	all := trusted(f, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:5"
		r.Header["X-Forwarded-For"] = []string{header, "1.2.3.4"}
		all.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr != "1.2.3.4:0" {
				t.Errorf("%q made it come from %s", header, r.RemoteAddr)
			}
		})).ServeHTTP(nil, r)
		r.Header["X-Forwarded-For"] = []string{header}
		all.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := netip.ParseAddrPort(r.RemoteAddr); err != nil {
				t.Errorf("%q made it come from %s", header, r.RemoteAddr)
			}
		})).ServeHTTP(nil, r)
	})
}

// A connection of a trusted proxy may begin with a header, in either version;
// one of anybody else is what it is, header or not.
func TestListener(t *testing.T) {
	t.Parallel()
	const request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	version2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\x01\x02\x03\x04" + "\x7f\x00\x00\x01" + "\x00\x50\x00\x51"
	for name, c := range map[string]struct {
		trusted string
		sent    string
		status  int
		want    string // the host
	}{
		"version 1":         {"127.0.0.1", "PROXY TCP4 1.2.3.4 127.0.0.1 80 81\r\n" + request, 200, "1.2.3.4"},
		"version 2":         {"127.0.0.0/8", version2 + request, 200, "1.2.3.4"},
		"no header":         {"127.0.0.1", request, 200, "127.0.0.1"},
		"somebody else's":   {"10.0.0.1", "PROXY TCP4 1.2.3.4 127.0.0.1 80 81\r\n" + request, 400, ""},
		"nobody is trusted": {"", request, 200, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all proxies.Trusted
			if c.trusted != "" {
				all = trusted(t, c.trusted)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				host, _, _ := net.SplitHostPort(r.RemoteAddr)
				fmt.Fprint(w, host)
			}))
			s.Listener = all.Listener(s.Listener)
			s.Start()
			t.Cleanup(s.Close)
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != c.status || c.want != "" && string(body) != c.want {
				t.Errorf("answered %d %q, %v", answer.StatusCode, body, err)
			}
		})
	}
}
