package httpapi_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/proxies"
)

// turnedAway checks that a handshake is refused with that status and reason, a
// line that says why, and a time at which to come again.
func (s *system) turnedAway(reason httpapi.Refusal, status int, path string, headers ...string) {
	s.t.Helper()
	before := s.server.Refusals()[reason]
	answer, c := s.handshake(path, headers...)
	defer c.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, max(answer.ContentLength, 0)))
	again, notNumber := strconv.Atoi(answer.Header.Get("Retry-After"))
	if answer.StatusCode != status || err != nil || len(text) == 0 || strings.Contains(string(text), "\n") || notNumber != nil || again < 1 || again > 60 {
		s.t.Errorf("%s %q: %d %q, again after %q, want %d", path, headers, answer.StatusCode, text, answer.Header.Get("Retry-After"), status)
	}
	if after := s.server.Refusals()[reason]; after != before+1 {
		s.t.Errorf("%s: %d refusals for %s, there were %d", path, after, reason, before)
	}
}

// admitted waits until there is room for a handshake.
func (s *system) admitted(path string, headers ...string) (c *client) {
	s.t.Helper()
	until(s.t, "there is room", func() bool {
		var status int
		c, status = s.tryDial(path, headers...)
		return status == http.StatusSwitchingProtocols
	})
	return c
}

// A user has so many connections, over all protocols, wherever it says who it is:
// at the handshake, in a message, or by logging in. Others have room all the same,
// and what ends makes room.
func TestLimit_ConnectionsPerUser(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	d.setAccount("alice", account(t))
	s := setup(t, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.MaxConnectionsPerUser = 4 })
	alice, bob := token(t, "alice", time.Hour, nil), token(t, "bob", time.Hour, nil)

	first := s.dial("/ws", "Authorization: Bearer "+alice)
	s.drp(alice)
	announced := s.dial("/subscribe_to_events")
	announced.text(fmt.Sprintf(`{"access_id":"alice","timestamp":0,"auth":%q}`, alice))
	s.live(announced)
	loggedIn := s.sysadm("")
	loggedIn.text(`{"namespace":"rpc","name":"auth","id":"1","args":{"username":"alice","password":"` + rightPassword + `"}}`)
	if got, err := loggedIn.read(); err != nil || !strings.Contains(got.payload, `"name":"response"`) {
		t.Fatalf("log in: %q, %v", got.payload, err)
	}

	for _, path := range []string{"/subscribe_to_events", "/ws", "/sysadm", drpPath} {
		s.turnedAway(httpapi.RefusedPerUser, http.StatusTooManyRequests, path, "Authorization: Bearer "+alice)
	}
	crowded := []struct{ path, message string }{
		{"/subscribe_to_events", fmt.Sprintf(`{"access_id":"alice","timestamp":0,"auth":%q}`, alice)},
		{"/ws", airlayRequest(alice, "attach", "issueUpdate", "1")},
		{"/", `{"namespace":"rpc","name":"auth_token","id":"1","args":{"token":"` + alice + `"}}`},
		{"/", `{"namespace":"rpc","name":"auth","id":"1","args":{"username":"alice","password":"` + rightPassword + `"}}`},
	}
	for _, try := range crowded {
		before := s.server.Refusals()[httpapi.RefusedPerUser]
		c := s.dial(try.path)
		c.text(try.message)
		c.expect(opClose, closePayload(1008, "too many connections of this user")) // and no answer before it
		if after := s.server.Refusals()[httpapi.RefusedPerUser]; after != before+1 {
			t.Errorf("%s: %d refusals, there were %d", try.path, after, before)
		}
	}
	s.drp(bob)
	other := s.dial("/ws")
	other.text(airlayRequest(bob, "attach", "issueUpdate", "1"))
	other.expect(opText, airlayOK)

	first.send(0x80|opClose, closePayload(1000, ""))
	first.expectClose()
	s.admitted("/ws", "Authorization: Bearer "+alice)
	s.turnedAway(httpapi.RefusedPerUser, http.StatusTooManyRequests, "/ws", "Authorization: Bearer "+alice)
}

// An admin's connection counts as that of the user it acts for: a gateway may have
// any number of them. One that has shown other tokens counts for the last.
func TestLimit_ConnectionsOfWhomOneActsFor(t *testing.T) {
	t.Parallel()
	d := newDirectory("root", "alice", "bob")
	s := setup(t, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.MaxConnectionsPerUser = 1 })
	root := "Authorization: Bearer " + token(t, "root", time.Hour, withRoles("admin"))
	for _, user := range []string{"alice", "bob"} {
		c := s.dial("/subscribe_to_events", root)
		c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":0}`, user))
		s.live(c)
		c = s.dial("/subscribe_to_events", root)
		c.text(fmt.Sprintf(`{"access_id":%q,"timestamp":0}`, user))
		c.expect(opClose, closePayload(1008, "too many connections of this user"))
	}
	s.drp(token(t, "root", time.Hour, withRoles("admin"))) // it acts for nobody
	s.turnedAway(httpapi.RefusedPerUser, http.StatusTooManyRequests, drpPath, root)

	carol, dave := token(t, "carol", time.Hour, nil), token(t, "dave", time.Hour, nil)
	d.mu.Lock()
	d.users["carol"], d.users["dave"] = true, true
	d.mu.Unlock()
	both := s.dial("/ws", "Authorization: Bearer "+carol)
	both.text(airlayRequest(dave, "attach", "issueUpdate", "1"))
	both.expect(opText, airlayOK)
	s.dial("/ws", "Authorization: Bearer "+carol)
	s.turnedAway(httpapi.RefusedPerUser, http.StatusTooManyRequests, "/ws", "Authorization: Bearer "+dave)
}

// In anonymous mode, those who name nobody are many; who names somebody is
// counted as that one.
func TestLimit_ConnectionsOfAnonymous(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxConnectionsPerUser = 1 })
	for range 5 {
		s.dial(drpPath)
		c := s.dial("/ws")
		c.text(anonymously("attach", "1"))
		c.expect(opText, airlayOK)
	}
	s.announce("alice", 0)
	c := s.dial("/subscribe_to_events")
	c.text(`{"access_id":"alice","timestamp":0}`)
	c.expect(opClose, closePayload(1008, "too many connections of this user"))
	s.dial(drpPath + "?token=bob:x")
	s.turnedAway(httpapi.RefusedPerUser, http.StatusTooManyRequests, drpPath+"?token=bob:y")
}

// handshakeFrom opens a WebSocket from an address of this host.
func (s *system) handshakeFrom(address string) (*client, int) {
	s.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := dialer.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.upgrade(conn, "/subscribe_to_events")
}

// An address that opens ever more keeps nobody else out. It is refused before its
// token is looked at.
func TestLimit_ConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8")
	}
	d := newDirectory("alice")
	s := setup(t, guarded(t, d, bySecret()), func(c *httpapi.Config) { c.MaxConnectionsPerAddress = 10 })
	var open []*client
	for n := range 50 {
		c, status := s.handshakeFrom("127.0.0.1")
		if want := n < 10; want != (status == http.StatusSwitchingProtocols) || !want && status != http.StatusTooManyRequests {
			t.Fatalf("connection %d: status %d", n, status)
		}
		open = append(open, c)
	}
	s.turnedAway(httpapi.RefusedPerAddress, http.StatusTooManyRequests, "/ws", "Authorization: Bearer bad")
	if n := s.server.Refusals()[httpapi.RefusedBadToken]; n != 0 {
		t.Errorf("%d tokens were looked at", n)
	}
	if _, status := s.handshakeFrom("127.0.0.2"); status != http.StatusSwitchingProtocols {
		t.Errorf("another address: status %d", status)
	}
	_ = open[0].Close()
	s.admitted("/subscribe_to_events")
}

// Behind a trusted proxy, the address is its client's. Of IPv6, a network of 64
// bits is one; and a proxy that does not say for whom it asks is not counted.
func TestLimit_ConnectionsPerAddressBehindAProxy(t *testing.T) {
	t.Parallel()
	trusted, err := proxies.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	s := setup(t, func(c *httpapi.Config) { c.MaxConnectionsPerAddress, c.Proxies = 2, trusted })
	for _, same := range [][]string{
		{"192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8::3"},
		{"2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1::3"},
		{"192.0.2.2", "192.0.2.2", "192.0.2.2"},
	} {
		for _, address := range same[:2] {
			s.dial("/ws", "X-Forwarded-For: "+address)
		}
		s.turnedAway(httpapi.RefusedPerAddress, http.StatusTooManyRequests, "/ws", "X-Forwarded-For: "+same[2])
	}
	for range 5 {
		s.dial("/ws")
	}
}

// Many who come at once are let in, a flood is not: it is refused before
// tokens are looked at, and at the rate that is set there is always room again.
func TestLimit_Connects(t *testing.T) {
	onFakeTime(t, func(t *testing.T, s *system, p *pipes) {
		var letIn, refused int
		connect := func() {
			mine, theirs := net.Pipe()
			p.dialed <- theirs
			_, status := s.upgrade(mine, "/ws")
			switch status {
			case http.StatusSwitchingProtocols:
				letIn++
			case http.StatusServiceUnavailable:
				refused++
			default:
				t.Errorf("status %d", status)
			}
			_ = mine.Close()
			synctest.Wait()
		}
		for range 750 {
			connect()
		}
		if letIn != 500 || refused != 250 {
			t.Errorf("at once: %d let in, %d refused", letIn, refused)
		}
		letIn, refused = 0, 0
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for range 3 {
			<-ticker.C
			for range 150 {
				connect()
			}
		}
		if letIn != 300 || refused != 150 {
			t.Errorf("over three seconds: %d let in, %d refused", letIn, refused)
		}
		if n := s.server.Refusals()[httpapi.RefusedConnects]; n != 400 {
			t.Errorf("%d counted", n)
		}
	}, func(c *httpapi.Config) { c.MaxConnects = 100 })
}

// What a client is told at the door, whatever it shows.
func TestLimit_TheDoor(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxConnections, c.MaxConnects = 1, 1 })
	s.dial("/ws")
	for _, path := range []string{"/ws", "/", "/sysadm/", "/subscribe_to_events", drpPath} {
		s.turnedAway(httpapi.RefusedConnections, http.StatusServiceUnavailable, path, "Authorization: Bearer bad")
	}
	if n := s.server.Refusals()[httpapi.RefusedBadToken]; n != 0 {
		t.Errorf("%d tokens were looked at", n)
	}
	if status, _, _ := s.request("GET", "/ws", ""); status != http.StatusUpgradeRequired {
		t.Errorf("no upgrade: status %d", status)
	}
}
