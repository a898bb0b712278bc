package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/instances"
)

// asked reads the answer to a question of operators.
func asked[T any](t *testing.T, url string) (all []T) {
	t.Helper()
	var report instances.Report[T]
	if err := json.Unmarshal([]byte(page(t, url)), &report); err != nil {
		t.Fatal(err)
	}
	return report.Instances
}

// Whichever instance is asked tells of all; one that has stopped is not listed any
// more, and one that was killed is said not to answer.
func TestAdmin_AnyInstanceTellsOfAll(t *testing.T) {
	t.Parallel()
	a := observe(t)
	b := observeOn(t, a.sql.Config().ConnString())
	c, _ := serving(t, a.sql.Config().ConnString()) // without an address for operators
	watcher := start(t, nil, "watch", "--url", b.url, "--user", "ann")
	dbtest.Eventually(t, "both tell of the client of one", func() bool {
		for _, url := range []string{a.url, a.admin, b.url, b.admin} {
			all := asked[instances.ClientsOf](t, url+"/admin/clients?user=ann")
			if len(all) != 3 || !slices.ContainsFunc(all, func(i instances.ClientsOf) bool {
				return i.Error == "" && i.Connections == 1 && i.Clients[0].User == "ann" && i.Self == (url == b.url || url == b.admin)
			}) || !slices.ContainsFunc(all, func(i instances.ClientsOf) bool { return i.Error == "has no admin address" }) {
				return false
			}
		}
		return true
	})
	var feed, position string
	dbtest.Eventually(t, "all follow the log", func() bool {
		var n int
		err := a.sql.QueryRow(t.Context(), `SELECT count(*), min(feed), min(position::text) FROM notifier.instances WHERE position IS NOT NULL`).Scan(&n, &feed, &position)
		return err == nil && n == 3 && feed == "listening" && position != ""
	})
	a.exec(`INSERT INTO notifier.events (type, recipient, payload) VALUES ('message', 'ann', '1')`)
	dbtest.Eventually(t, "what is done is told", func() bool {
		for _, i := range asked[instances.StatsOf](t, a.admin+"/admin/stats") {
			if i.EventsRead == 1 && i.EventsDelivered == 1 && i.Latency != nil && i.Latency.Written.Count == 1 && i.Latency.Read.P50 > 0 {
				return true
			}
		}
		return false
	})
	c.signal(syscall.SIGTERM)
	c.wait()
	if err := b.p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-b.p.ended
	all := asked[instances.StatsOf](t, a.admin+"/admin/stats")
	if len(all) != 2 || all[0].Error != "" || !all[0].Self || all[1].Error != "did not answer: connection refused" {
		t.Errorf("%+v", all)
	}
	watcher.signal(syscall.SIGTERM)
}

// Nobody is asked there who they are, so a page in an operator's browser, whose own
// name is made to resolve to this address, must not get anything of it.
func TestAdmin_KeepsForeignPagesOut(t *testing.T) {
	t.Parallel()
	o := observe(t, "--admin-url=https://n1.example.com:9999", "--allowed-origins=*", "--allowed-hosts=scraped.example.com")
	_, port, _ := strings.Cut(strings.TrimPrefix(o.admin, "http://"), ":")
	for _, path := range []string{"/admin/clients", "/admin/explain?user=a&event=1", "/metrics", "/debug/pprof/", "/debug/pprof/symbol", "/"} {
		for caller, want := range map[[2]string]bool{
			{"127.0.0.1:" + port, ""}: true, {"localhost:" + port, ""}: true, {"10.0.0.5", ""}: true,
			{"n1.example.com", ""}: true, {"N1.example.com:9999", ""}: true, {"scraped.example.com:" + port, ""}: true,
			{"evil.example:" + port, ""}: false, {"example.com", ""}: false,
			{"127.0.0.1:" + port, "http://evil.example"}: false, {"127.0.0.1:" + port, "null"}: false,
			{"127.0.0.1:" + port, o.admin}: true,
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.admin+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if request.Host = caller[0]; caller[1] != "" {
				request.Header.Set("Origin", caller[1])
			}
			answer, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if let := answer.StatusCode != http.StatusForbidden; let != want {
				t.Errorf("%s of %v: %s", path, caller, answer.Status)
			}
		}
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1"),
		netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.8")}
	for listened, want := range map[string]string{
		"0.0.0.0:9090": "10.0.0.7:9090", "[::]:9090": "10.0.0.7:9090", "127.0.0.1:1": "127.0.0.1:1", "[::1]:1": "[::1]:1",
		"192.168.1.2:5": "192.168.1.2:5", "[::ffff:192.168.1.2]:5": "192.168.1.2:5",
	} {
		if got := reachable(netip.MustParseAddrPort(listened), own).String(); got != want {
			t.Errorf("%s: %s, want %s", listened, got, want)
		}
	}
	if got := reachable(netip.MustParseAddrPort("[::]:1"), own[:4]).String(); got != "[2001:db8::7]:1" {
		t.Errorf("without IPv4: %s", got)
	}
	if got := reachable(netip.MustParseAddrPort("0.0.0.0:1"), own[:4]).String(); got != "127.0.0.1:1" {
		t.Errorf("with nothing else: %s", got)
	}
}

func TestNewInstance_CalledAsToldTo(t *testing.T) {
	t.Parallel()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090}
	if got := newInstance(at, "").AdminURL; got != "http://127.0.0.1:9090" {
		t.Error(got)
	}
	if got := newInstance(at, "https://n1.example.com").AdminURL; got != "https://n1.example.com" {
		t.Error(got)
	}
	a, b := newInstance(nil, ""), newInstance(nil, "")
	if a.AdminURL != "" || a.ID == b.ID || len(a.ID) != 36 {
		t.Errorf("%+v, %+v", a, b)
	}
	code, _, err := run(t, []string{"NOTIFIER_ADMIN_URL=10.0.0.1:9090"}, "serve")
	if code != exitFailed {
		t.Errorf("code %d, %s", code, err)
	}
}
