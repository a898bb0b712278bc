package httpapi_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// erniusSystem is a server that takes tokens by a secret.
func erniusSystem(t *testing.T, d *directory, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	return setup(t, append([]func(*httpapi.Config){guarded(t, d, bySecret())}, adjust...)...)
}

// refused checks that a client is told why and that the connection ends.
func (c *client) refused(why string) {
	c.t.Helper()
	c.expect(opText, "Not authorized: "+why)
	if code, reason := c.expectClose(); code != 1008 || reason != "not authorized" {
		c.t.Errorf("closed with %d %q", code, reason)
	}
}

// Whose events a client of ernius gets: its token's user's, an admin's token's
// whoever it names.
func TestErnius_AccessIDIsTheTokensUser(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := erniusSystem(t, d)
	alice, root, nobody := token(t, "alice", time.Hour, nil), token(t, "root", time.Hour, withRoles("admin")), token(t, "nobody", time.Hour, nil)
	publisher := token(t, "alice", time.Hour, withRoles("publisher"))
	const announcement = `{"access_id":%q,"timestamp":0}`
	for _, c := range []struct{ token, user, why string }{
		{alice, "alice", ""}, {publisher, "alice", ""}, {root, "bob", ""}, {root, "unheard of", ""},
		{alice, "bob", "not this token's user"}, {alice, "Alice", "not this token's user"}, {alice, "root", "not this token's user"},
		{publisher, "bob", "not this token's user"}, {nobody, "nobody", "unknown user"}, {nobody, "alice", "unknown user"}, {"", "alice", "no token"},
	} {
		for _, way := range []string{"header", "query", "message"} {
			t.Run(fmt.Sprint(c.user, " ", c.why, " by ", way), func(t *testing.T) {
				s := s.in(t)
				var client *client
				message := fmt.Sprintf(announcement, c.user)
				switch {
				case c.token == "", way == "message":
					client = s.dial("/subscribe_to_events")
					message = strings.Replace(message, "{", fmt.Sprintf(`{"auth":%q,`, c.token), 1)
				case way == "header":
					client = s.dial("/subscribe_to_events", "Authorization: Bearer "+c.token)
				default:
					client = s.dial("/subscribe_to_events?token=" + c.token)
				}
				client.text(message)
				if c.why != "" {
					client.refused(c.why)
					return
				}
				s.live(client)
				d.publish(t, event(c.user, 1, `"its own"`), event("carol", 1, `"another's"`), event(c.user, 2, `"its own"`))
				client.expect(opText, fmt.Sprintf(`[{"accessid":%q,"created_at":1,"payload":"its own"},{"accessid":%[1]q,"created_at":2,"payload":"its own"}]`, c.user))
				_ = client.Close()
				until(t, "the client is gone", func() bool { return !slices.Contains(s.hub.Users(), c.user) })
				d.forgetStored()
			})
		}
	}
}

// forgetStored empties the log, so that the next client has nothing to replay.
func (d *directory) forgetStored() {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.events = nil
}

// What is stored is checked as what is live: an event of a dataset needs its
// permission, on the day it is asked for.
func TestErnius_ReplayIsByTodaysPolicy(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	d.allowed["alice open"] = true
	s := erniusSystem(t, d)
	in := func(dataset string, at int64) notifier.Event {
		e := event("alice", at, `"x"`)
		e.DatasetID = &dataset
		return e
	}
	d.publish(t, in("open", 1), in("closed", 2), event("alice", 3, `"x"`), in("given later", 4))
	d.permit("alice", "given later", true)
	c := s.dial("/subscribe_to_events", "Authorization: Bearer "+token(t, "alice", time.Hour, nil))
	c.text(`{"access_id":"alice","timestamp":0}`)
	c.expect(opText, `[{"accessid":"alice","created_at":1,"payload":"x"},{"accessid":"alice","created_at":3,"payload":"x"},{"accessid":"alice","created_at":4,"payload":"x"}]`)
	d.permit("alice", "open", false)
	d.publish(t, in("open", 5), in("given later", 6))
	c.expect(opText, `[{"accessid":"alice","created_at":6,"payload":"x"}]`)
}

// A token in a message counts before that of the handshake.
func TestErnius_TokenOfTheMessageCounts(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := erniusSystem(t, d)
	c := s.dial("/subscribe_to_events", "Authorization: Bearer "+token(t, "alice", time.Hour, nil))
	c.text(fmt.Sprintf(`{"access_id":"bob","timestamp":0,"auth":%q}`, token(t, "bob", time.Hour, nil)))
	s.live(c)
	if got := s.hub.Users(); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("the hub has %v", got)
	}
	c = s.dial("/subscribe_to_events", "Authorization: Bearer "+token(t, "alice", time.Hour, nil))
	c.text(`{"access_id":"alice","timestamp":0,"auth":"x"}`)
	c.refused("invalid token")
}

// onTokensTime is a server for tokens by a secret, on fake time.
func onTokensTime(t *testing.T, users []string, test func(*testing.T, *system, *pipes, *directory), adjust ...func(*httpapi.Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, p := newDirectory(users...), newPipes()
		slow := func(c *httpapi.Config) { c.PingInterval, c.FirstMessage = 1000*time.Hour, 1000*time.Hour }
		test(t, setupOn(t, p, append([]func(*httpapi.Config){guarded(t, d, bySecret()), slow}, adjust...)...), p, d)
	})
}

// The token's end ends the connection, and a newer one of the same user that
// comes before it puts that off.
func TestErnius_ExpiryAndRenewal(t *testing.T) {
	onTokensTime(t, []string{"alice", "bob"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := p.dialWith(s, "/subscribe_to_events", "Authorization: Bearer "+token(t, "alice", time.Hour, nil))
		c.text(`{"access_id":"alice","timestamp":0}`)
		began := time.Now()
		for range 3 {
			<-time.After(50 * time.Minute) // fake
			d.publish(t, event("alice", 1, `"x"`))
			c.expect(opText, `[{"accessid":"alice","created_at":1,"payload":"x"}]`)
			c.text(fmt.Sprintf(`{"auth":%q}`, token(t, "alice", time.Hour, nil)))
		}
		for _, no := range []string{
			`{}`, `no`, `{"auth":""}`, `{"auth":null}`, `{"auth":"x"}`, `[]`, `{"access_id":"bob","timestamp":0}`,
			fmt.Sprintf(`{"auth":%q}`, token(t, "bob", 3*time.Hour, nil)), fmt.Sprintf(`{"auth":%q}`, token(t, "alice", -time.Hour, nil)),
			fmt.Sprintf(`{"auth":%q}`, token(t, "alice", time.Minute, nil)),
		} {
			c.text(no) // changes nothing
		}
		d.publish(t, event("alice", 1, `"x"`), event("bob", 1, `"x"`))
		c.expect(opText, `[{"accessid":"alice","created_at":1,"payload":"x"}]`)
		if code, reason := c.expectClose(); code != 1008 || reason != "token expired" {
			t.Errorf("closed with %d %q", code, reason)
		}
		if got, want := time.Since(began), 3*50*time.Minute+time.Hour; got != want {
			t.Errorf("it ended after %v, not %v", got, want)
		}
	})
}

// A token that was good when the connection began and is not when it is used.
func TestToken_OfTheHandshakeExpiresBeforeItIsUsed(t *testing.T) {
	onTokensTime(t, []string{"alice"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		d.publish(t, event("alice", 1, `"stored"`))
		bearer := "Authorization: Bearer " + token(t, "alice", time.Hour, nil)
		ernius, airlay := p.dialWith(s, "/subscribe_to_events", bearer), p.dialWith(s, "/ws", bearer)
		const attach = `{"action":"attach","event":{"type":"message","id":"1"}}`
		airlay.text(attach)
		airlay.expect(opText, airlayOK)
		<-time.After(time.Hour)
		airlay.expect(opText, airlayInvalid)
		ernius.text(`{"access_id":"alice","timestamp":0}`)
		ernius.refused("invalid token")
		airlay.text(attach)
		airlay.expect(opText, airlayInvalid)
		airlay.text(`no`)
		airlay.expect(opText, airlayBad) // and nothing else
		_ = airlay.Close()
	})
}

// A newer token stands in for that of the handshake too.
func TestToken_OfTheHandshakeIsRenewed(t *testing.T) {
	onTokensTime(t, []string{"alice"}, func(t *testing.T, s *system, p *pipes, d *directory) {
		c := p.dialWith(s, "/ws", "Authorization: Bearer "+token(t, "alice", time.Hour, nil))
		const rest = `"action":"attach","event":{"type":"issueUpdate","id":"1"}}`
		c.text(`{` + rest)
		c.expect(opText, airlayOK)
		c.text(fmt.Sprintf(`{"auth":%q,`, token(t, "alice", 3*time.Hour, nil)) + rest)
		c.expect(opText, airlayOK)
		<-time.After(2 * time.Hour)
		c.text(`{` + rest)
		c.expect(opText, airlayOK)
		d.publish(t, about("issueUpdate", "1", ""))
		c.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
		<-time.After(time.Hour)
		c.expect(opText, airlayInvalid)
		c.text(`{` + rest)
		c.expect(opText, airlayInvalid)
		_ = c.Close()
	})
}

// dialWith opens a connection over a pipe.
func (p *pipes) dialWith(s *system, path string, headers ...string) *client {
	s.t.Helper()
	mine, theirs := net.Pipe()
	p.dialed <- theirs
	c, status := s.upgrade(mine, path, headers...)
	if status != http.StatusSwitchingProtocols {
		s.t.Fatalf("status %d", status)
	}
	_ = mine.SetDeadline(time.Time{})
	return c
}

// Who may do what by HTTP.
func TestHTTP_RolesAndChallenges(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice")
	s := erniusSystem(t, d)
	bearers := map[string]string{
		"": "", "alice": token(t, "alice", time.Hour, nil), "publisher": token(t, "p", time.Hour, withRoles("publisher")),
		"admin": token(t, "a", time.Hour, withRoles("admin")), "another's roles": token(t, "a", time.Hour, withRoles("Admin", "superuser", "admins")),
		"roles in a text": token(t, "a", time.Hour, claims{"roles": "openid publisher"}), "roles of another type": token(t, "a", time.Hour, claims{"roles": claims{"admin": true}}),
	}
	const json = "Content-Type: application/json"
	for _, c := range []struct {
		method, path, body string
		allowed            []string
		lack               string
	}{
		{"POST", "/push_events", `[{"accessid":"u","created_at":1,"payload":"x"}]`, []string{"publisher", "admin", "roles in a text"}, "publisher"},
		{"POST", "/drop_user", `{"drop_access_id":"u"}`, []string{"admin"}, "admin"},
		{"GET", "/clients", ``, []string{"admin"}, "admin"},
		{"HEAD", "/clients", ``, []string{"admin"}, "admin"},
	} {
		for who, bearer := range bearers {
			headers := []string{json}
			if bearer != "" {
				headers = append(headers, "Authorization: Bearer "+bearer)
			}
			before := len(d.published())
			status, header, text := s.request(c.method, c.path, c.body, headers...)
			wantStatus, wantChallenge, wantText := 200, "", text
			switch {
			case who == "":
				wantStatus, wantChallenge, wantText = 401, "Bearer", "no token"
			case !slices.Contains(c.allowed, who):
				wantStatus, wantText = 403, "the token's user lacks the role "+c.lack
			}
			if c.method == "HEAD" {
				wantText = ""
			}
			if status != wantStatus || header.Get("WWW-Authenticate") != wantChallenge || text != wantText {
				t.Errorf("%s %s by %q: %d %q %q, want %d %q %q", c.method, c.path, who, status, header.Get("WWW-Authenticate"), text, wantStatus, wantChallenge, wantText)
			}
			if stored := len(d.published()) - before; (stored == 1) != (status == 200 && c.path == "/push_events") {
				t.Errorf("%s %s by %q stored %d publications", c.method, c.path, who, stored)
			}
		}
	}
}

// The log says who published: the token's user.
func TestHTTP_PrincipalIsTheTokensUser(t *testing.T) {
	t.Parallel()
	d := newDirectory()
	s := erniusSystem(t, d)
	s.request("POST", "/push_events?token="+token(t, "p", time.Hour, withRoles("publisher")), `[{"accessid":"u","created_at":1,"payload":"x"}]`, "Content-Type: application/json")
	all := d.published()
	if len(all) != 1 || all[0].Principal != "p" {
		t.Errorf("published: %+v", all)
	}
}

// What is in a credential's place and is none counts as a bad one, and a header
// before a query.
func TestHTTP_MalformedCredentials(t *testing.T) {
	t.Parallel()
	good := token(t, "a", time.Hour, withRoles("admin"))
	for _, anonymous := range []bool{false, true} {
		s := erniusSystem(t, newDirectory("a"), func(c *httpapi.Config) { c.Anonymous = anonymous })
		for _, c := range []struct {
			query   string
			headers []string
			status  int
		}{
			{"?token=" + good, nil, 200}, {"", []string{"Authorization: bearer  " + good}, 200}, {"?token=x", []string{"Authorization: Bearer " + good}, 200},
			{"?token=" + good, []string{"Authorization: Bearer x"}, 401}, {"?token=" + good, []string{"Authorization: Basic eDp5"}, 401},
			{"?token=" + good + "&token=" + good, nil, 401}, {"", []string{"Authorization: Bearer " + good, "Authorization: Bearer " + good}, 401},
			{"", []string{"Authorization: Bearer"}, 401}, {"", []string{"Authorization: " + good}, 401}, {"", []string{"Authorization: Digest " + good}, 401},
			{"", []string{"Authorization: Basic no"}, 401}, {"?token=x", nil, 401}, {"?token=", nil, 0}, {"?Token=" + good, nil, 0}, {"", nil, 0},
		} {
			want := c.status
			if want == 0 { // nothing is shown
				want = map[bool]int{false: 401, true: 200}[anonymous]
			}
			if status, _, text := s.request("GET", "/clients"+c.query, "", c.headers...); status != want {
				t.Errorf("anonymous %t, %s %v: %d %q, want %d", anonymous, c.query, c.headers, status, text, want)
			}
		}
	}
}

// Without a token, an anonymous client does everything, as in the real servers;
// one that shows a token is who the token says.
func TestAnonymous_ATokenStillCounts(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := erniusSystem(t, d, func(c *httpapi.Config) { c.Anonymous = true })
	c := s.dial("/subscribe_to_events")
	c.text(`{"access_id":"anybody","timestamp":0}`)
	s.live(c)
	d.publish(t, event("anybody", 1, `"x"`))
	c.expect(opText, `[{"accessid":"anybody","created_at":1,"payload":"x"}]`)

	c = s.dial("/subscribe_to_events")
	c.text(fmt.Sprintf(`{"access_id":"bob","timestamp":0,"auth":%q}`, token(t, "alice", time.Hour, nil)))
	c.refused("not this token's user")
	c = s.dial("/subscribe_to_events")
	c.text(`{"access_id":"bob","timestamp":0,"auth":"x"}`)
	c.refused("invalid token")

	if status, _, _ := s.request("GET", "/clients", ""); status != 200 {
		t.Errorf("clients: %d", status)
	}
	if status, _, _ := s.request("GET", "/clients?token="+token(t, "alice", time.Hour, nil), ""); status != 403 {
		t.Errorf("clients for a user: %d", status)
	}

	airlay := s.dial("/ws")
	airlay.text(`{"action":"attach","event":{"type":"datasetUpdate","id":"closed"}}`)
	airlay.expect(opText, airlayOK)
	airlay.text(fmt.Sprintf(`{"auth":%q,"action":"attach","event":{"type":"datasetUpdate","id":"closed"}}`, token(t, "alice", time.Hour, nil)))
	airlay.expect(opText, airlayDenied)
	closed := about("datasetUpdate", "closed", "")
	closed.DatasetID = &closed.Key
	d.publish(t, closed)
	airlay.expect(opText, `{"type":"datasetUpdate","id":"closed","data":[]}`)
}
