package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/proxies"
)

// serverConfig is what serve and dev have in common.
type serverConfig struct {
	logConfig
	addresses []string
	admin     string // where operators look; "": nowhere
	adminURL  string // what other instances call that; "": as it can be told from it
	tls       tlsConfig
	folder    string // where a certificate for development is kept
	db        db.Config
	http      httpapi.Config
	tokens    tokenConfig
	// accessMaxAge is how long a verdict of the policy is used.
	accessMaxAge time.Duration
	recentBytes  int
}

// serverDefaults is where serve and dev differ.
type serverDefaults struct{ address, sysadmTypes string }

func (c *serverConfig) define(s *settings, d serverDefaults) {
	s.section("Addresses")
	define(s, "addr", "list", d.address, "where to listen: host:port, or tls://host:port; several with commas", &c.addresses, parseAddresses)
	define(s, "admin-addr", "host:port", "", "where /metrics, /admin and /debug/pprof are, in plain HTTP and for whoever can reach it: "+
		"best a loopback address, such as 127.0.0.1:9090; empty: nowhere", &c.admin, parseAdminAddress)
	define(s, "admin-url", "url", "", "what the other instances call --admin-addr, such as http://10.0.0.5:9090; "+
		"empty: as it is, or this machine's first address if it is every one", &c.adminURL, parseAdminURL)
	define(s, "trusted-proxies", "list", "", "addresses and networks of proxies that are believed when they say where a client is (X-Forwarded-For, PROXY protocol)",
		&c.http.Proxies, parseProxies)
	c.tls.define(s)
	c.defineAccess(s)
	c.logConfig.define(s)
	c.defineReading(s)
	c.defineSysadm(s, d.sysadmTypes)
	c.defineLimits(s)
	c.defineTimes(s)
}

func (c *serverConfig) defineAccess(s *settings) {
	s.section("Access")
	defineSwitch(s, "plain-passwords", "take passwords over plain HTTP also from other hosts, where anybody on the way can read them",
		&c.http.PlainPasswords)
	define(s, "allowed-origins", "list", "", "web pages of other hosts that may connect in anonymous mode: scheme://host, null, *",
		&c.http.AllowedOrigins, parseOrigins)
	define(s, "allowed-hosts", "list", "", "names by which this server may be called in anonymous mode, or at --admin-addr, besides loopback and IP addresses",
		&c.http.AllowedHosts, parseHosts)
	define(s, "console", "on|off", "on", "the console, a page for people at /; what it shows and does is what the token allows",
		&c.http.NoConsole, parseOff)
	define(s, "access-max-age", "duration", "1m", "how long an answer of the policy functions is used, if nobody says that access has changed",
		&c.accessMaxAge, parseDuration)
}

func (c *serverConfig) defineSysadm(s *settings, types string) {
	s.section("sysadm")
	define(s, "sysadm-types", "list", types, "types of events for sysadm's clients besides dispatcher, life-preserver and system-state; *: any",
		&c.http.SysadmTypes, parseList)
	define(s, "sysadm-latest", "list", "life-preserver,system-state", "types whose newest event sysadm's clients get when they subscribe, or none",
		&c.http.SysadmLatest, parseLatest)
}

func (c *serverConfig) defineReading(s *settings) {
	s.section("Log of events")
	define(s, "retention", "duration", "7d", "how long events are kept at least", &c.db.Retention, parseDuration)
	define(s, "max-payload", "size", "1MiB", "a larger payload goes out as null", &c.db.MaxPayload, parseSize[int])
	define(s, "listen", "on|off", "on", "LISTEN for the doorbell; off: poll only, for poolers and serverless databases",
		&c.db.PollOnly, parseOff)
	define(s, "poll-interval", "duration", "auto", "how often to read although nobody rang; auto: 5s, or 250ms with --listen=off",
		&c.db.PollInterval, parseInterval)
	define(s, "max-conns", "number", "16", "connections to the database, besides the up to five that serve live delivery", &c.db.MaxConns, parseCount)
}

func (c *serverConfig) defineLimits(s *settings) {
	s.section("Limits")
	h := &c.http
	define(s, "max-body", "size", "16MiB", "largest body of a push", &h.MaxBody, parseSize[int64])
	define(s, "max-list", "number", "100000", "most events in a push", &h.MaxList, parseCount)
	define(s, "max-pushing", "size", "64MiB", "all bodies of pushes that are being taken at once", &h.MaxPushing, parseSize[int64])
	define(s, "max-message", "size", "64KiB", "largest message of a client on a WebSocket", &h.MaxMessage, parseSize[int64])
	c.defineSockets(s)
	define(s, "max-connections-per-user", "number", "1000", "those of one user; none: no limit", &h.MaxConnectionsPerUser, parseLimit)
	define(s, "max-connections-per-address", "number", "none", "those from one address, or one /64 of IPv6; none: no limit",
		&h.MaxConnectionsPerAddress, parseLimit)
	define(s, "max-connects", "number", "2000", "WebSockets begun in a second, five times as many at once; none: no limit", &h.MaxConnects, parseLimit)
	define(s, "max-commands", "number", "100", "messages taken of one WebSocket in a second, and --max-subscriptions at once; others wait; none: no limit",
		&h.MaxCommands, parseLimit)
	define(s, "max-subscriptions", "number", "10000", "what one WebSocket is subscribed to; each value of a list counts, and each 64 bytes",
		&h.MaxSubscriptions, parseCount)
	define(s, "recent-bytes", "size", "64MiB", "newest events kept in memory for clients that have missed a few", &c.recentBytes, parseSize[int])
	define(s, "max-replays", "number", "32", "replays that read at once; others wait", &h.MaxReplays, parseCount)
	define(s, "outbox-events", "number", "4096", "events that may wait for one client", &h.Outbox.Events, parseCount)
	define(s, "outbox-bytes", "size", "8MiB", "their bytes", &h.Outbox.Bytes, parseSize[int])
	define(s, "send-buffer", "size", "128KiB", "send buffer of a socket in the kernel", &h.SendBuffer, parseSize[int])
}

// defineSockets is what the number of sockets depends on.
func (c *serverConfig) defineSockets(s *settings) {
	define(s, "max-connections", "number", "50000", "WebSockets open at once", &c.http.MaxConnections, parseCount)
	define(s, "max-requests", "number", "10000", "requests served at once, and connections that are no WebSockets", &c.http.MaxRequests, parseCount)
}

func (c *serverConfig) defineTimes(s *settings) {
	s.section("Times")
	h := &c.http
	define(s, "drain", "duration", "10s", "time over which connections are closed when the server stops", &h.Drain, parseDuration)
	define(s, "handshake-timeout", "duration", "10s", "time for a TLS handshake, and for the header of a request", &h.HandshakeTimeout, parseDuration)
	define(s, "request-timeout", "duration", "1m", "time for a request to arrive, with its body", &h.RequestTimeout, parseDuration)
	define(s, "first-message", "duration", "10s", "time for a client to say what it wants", &h.FirstMessage, parseDuration)
	define(s, "ping-interval", "duration", "30s", "time between two pings of a connection, and for a message of its client to arrive", &h.PingInterval, parseDuration)
	define(s, "write-timeout", "duration", "30s", "time a socket may take no byte of what waits for it", &h.WriteTimeout, parseDuration)
	define(s, "close-timeout", "duration", "5s", "time for a connection's last frames, and for the client's answer to its close; also for the last requests",
		&h.CloseTimeout, parseDuration)
}

// problems tells what no single setting can know.
func (c *serverConfig) problems() []error {
	problems := c.tls.problems(c.addresses)
	if c.http.MaxPushing < c.http.MaxBody {
		problems = append(problems, named("max-pushing", "is less than --max-body: no such body could be taken"))
	}
	return problems
}

// checkWayIn refuses to run a server that nobody could be let in to. A user with
// a password is a way in; that only the database knows.
func (c *serverConfig) checkWayIn(ctx context.Context, database *db.DB) error {
	if c.http.Anonymous || c.tokens.given() {
		return nil
	}
	ok, err := database.AnyPassword(ctx)
	if err != nil || ok {
		return err
	}
	return configError{named("anonymous", "is off, there is no key to verify tokens with, and no user has a password: nobody could be let in; "+
		"give --jwt-secret, --jwt-public-key, --jwks-url or --jwks-file; or make a user with 'notifier user add'; "+
		"or turn it on where everybody who reaches the server may read and publish everything")}
}

// parseAddresses reads a list of host:port, some with tls:// before it; an empty
// host is every address.
func parseAddresses(text string) ([]string, error) {
	list, _ := parseList(text)
	if len(list) == 0 {
		return nil, errEmpty
	}
	var problems []error
	for _, address := range list {
		problems = append(problems, checkAddress(address))
	}
	return list, errors.Join(problems...)
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, tlsPrefix))
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor tls://host:port", address)
	}
	if _, err := parsePort(port); err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	return nil
}

// parseAdminAddress reads one host:port, or none.
func parseAdminAddress(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if strings.HasPrefix(text, tlsPrefix) {
		return "", errors.New("there is no TLS: give host:port")
	}
	return text, checkAddress(text)
}

// parseOrigins reads a list of origins as a browser sends them.
func parseOrigins(text string) ([]string, error) { return parseEach(text, httpapi.CheckOrigin) }

// parseHosts reads a list of host names, with or without a port.
func parseHosts(text string) ([]string, error) { return parseEach(text, httpapi.CheckHost) }

// parseProxies reads a list of addresses and networks.
func parseProxies(text string) (proxies.Trusted, error) {
	list, _ := parseList(text)
	return proxies.Parse(list)
}

// parseEach reads a list and reports all in it that is wrong.
func parseEach(text string, check func(string) error) ([]string, error) {
	list, _ := parseList(text)
	var problems []error
	for _, value := range list {
		problems = append(problems, check(value))
	}
	return list, errors.Join(problems...)
}

// parseLatest reads a list of types, or none. It is never nil, which would stand
// for the default.
func parseLatest(text string) ([]string, error) {
	list := []string{}
	if text == "none" {
		return list, nil
	}
	more, _ := parseList(text)
	if slices.Contains(more, "*") {
		return nil, errors.New("* is not the name of a type")
	}
	return append(list, more...), nil
}
