package tuning

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// Config is what the settings set.
type Config struct {
	// DB is how the log is read and kept.
	DB db.Config
	// HTTP is how clients are served.
	HTTP httpapi.Config
	// AccessMaxAge is how long a verdict of the policy is used.
	AccessMaxAge time.Duration
	// RecentBytes bounds the newest events that are kept in memory.
	RecentBytes int
}

// Adder takes settings, for each a parser of its text which also keeps the value.
// Kind says what the text is like.
type Adder interface {
	// Section begins those under a heading.
	Section(heading string)
	// Add takes one.
	Add(name, kind, initial, usage string, parse func(text string) error)
}

// Define adds a setting whose value goes to target.
func Define[T any](to Adder, name, kind, initial, usage string, target *T, parse func(string) (T, error)) {
	to.Add(name, kind, initial, usage, func(text string) error {
		value, err := parse(text)
		if err == nil {
			*target = value
		}
		return err
	})
}

// DefineSwitch adds one that is off unless given.
func DefineSwitch(to Adder, name, usage string, target *bool) {
	Define(to, name, "bool", "false", usage, target, Bool)
}

// All adds all of them; the types are those of sysadm by default.
func (c *Config) All(to Adder, sysadmTypes string) {
	c.Anonymous(to)
	c.Access(to)
	c.Reading(to)
	c.Sysadm(to, sysadmTypes)
	c.Limits(to)
	c.Times(to)
}

// Anonymous adds whether clients need tokens.
func (c *Config) Anonymous(to Adder) {
	DefineSwitch(to, "anonymous", "let clients without a token do everything", &c.HTTP.Anonymous)
}

// Access adds what else is let in.
func (c *Config) Access(to Adder) {
	to.Section("Access")
	DefineSwitch(to, "plain-passwords", "take passwords over plain HTTP also from other hosts, where anybody on the way can read them",
		&c.HTTP.PlainPasswords)
	Define(to, "allowed-origins", "list", "", "web pages of other hosts that may connect in anonymous mode: scheme://host, null, *",
		&c.HTTP.AllowedOrigins, Origins)
	Define(to, "allowed-hosts", "list", "", "names by which this server may be called in anonymous mode, or at --admin-addr, besides loopback and IP addresses",
		&c.HTTP.AllowedHosts, Hosts)
	Define(to, "console", "on|off", "on", "the console, a page for people at /; what it shows and does is what the token allows",
		&c.HTTP.NoConsole, Off)
	Define(to, "access-max-age", "duration", "1m", "how long an answer of the policy functions is used, if nobody says that access has changed",
		&c.AccessMaxAge, Duration)
}

// Sysadm adds what concerns that protocol alone.
func (c *Config) Sysadm(to Adder, types string) {
	to.Section("sysadm")
	Define(to, "sysadm-types", "list", types, "types of events for sysadm's clients besides dispatcher, life-preserver and system-state; *: any",
		&c.HTTP.SysadmTypes, List)
	Define(to, "sysadm-latest", "list", "life-preserver,system-state", "types whose newest event sysadm's clients get when they subscribe, or none",
		&c.HTTP.SysadmLatest, Latest)
}

// Reading adds how the log is read and kept.
func (c *Config) Reading(to Adder) {
	to.Section("Log of events")
	Define(to, "retention", "duration", "7d", "how long events are kept at least", &c.DB.Retention, Duration)
	Define(to, "max-payload", "size", "1MiB", "a larger payload goes out as null", &c.DB.MaxPayload, Size[int])
	Define(to, "listen", "on|off", "on", "LISTEN for the doorbell; off: poll only, for poolers and serverless databases",
		&c.DB.PollOnly, Off)
	Define(to, "poll-interval", "duration", "auto", "how often to read although nobody rang; auto: 5s, or 250ms with --listen=off",
		&c.DB.PollInterval, Interval)
	Define(to, "max-conns", "number", "16", "connections to the database, besides the up to five that serve live delivery", &c.DB.MaxConns, Count)
}

// Limits adds what bounds clients and their requests.
func (c *Config) Limits(to Adder) {
	to.Section("Limits")
	h := &c.HTTP
	Define(to, "max-body", "size", "16MiB", "largest body of a push", &h.MaxBody, Size[int64])
	Define(to, "max-list", "number", "100000", "most events in a push", &h.MaxList, Count)
	Define(to, "max-pushing", "size", "64MiB", "all bodies of pushes that are being taken at once", &h.MaxPushing, Size[int64])
	Define(to, "max-message", "size", "64KiB", "largest message of a client on a WebSocket", &h.MaxMessage, Size[int64])
	c.Sockets(to)
	Define(to, "max-connections-per-user", "number", "1000", "those of one user; none: no limit", &h.MaxConnectionsPerUser, Limit)
	Define(to, "max-connections-per-address", "number", "none", "those from one address, or one /64 of IPv6; none: no limit",
		&h.MaxConnectionsPerAddress, Limit)
	Define(to, "max-connects", "number", "2000", "WebSockets begun in a second, five times as many at once; none: no limit", &h.MaxConnects, Limit)
	Define(to, "max-commands", "number", "100", "messages taken of one WebSocket in a second, and --max-subscriptions at once; others wait; none: no limit",
		&h.MaxCommands, Limit)
	Define(to, "max-subscriptions", "number", "10000", "what one WebSocket is subscribed to; each value of a list counts, and each 64 bytes",
		&h.MaxSubscriptions, Count)
	Define(to, "recent-bytes", "size", "64MiB", "newest events kept in memory for clients that have missed a few", &c.RecentBytes, Size[int])
	Define(to, "max-replays", "number", "32", "replays that read at once; others wait", &h.MaxReplays, Count)
	Define(to, "outbox-events", "number", "4096", "events that may wait for one client", &h.Outbox.Events, Count)
	Define(to, "outbox-bytes", "size", "8MiB", "their bytes", &h.Outbox.Bytes, Size[int])
	Define(to, "send-buffer", "size", "128KiB", "send buffer of a socket in the kernel", &h.SendBuffer, Size[int])
}

// Sockets adds what the number of sockets depends on.
func (c *Config) Sockets(to Adder) {
	Define(to, "max-connections", "number", "50000", "WebSockets open at once", &c.HTTP.MaxConnections, Count)
	Define(to, "max-requests", "number", "10000", "requests served at once, and connections that are no WebSockets", &c.HTTP.MaxRequests, Count)
}

// Times adds how long what may take.
func (c *Config) Times(to Adder) {
	to.Section("Times")
	h := &c.HTTP
	Define(to, "drain", "duration", "10s", "time over which connections are closed when the server stops", &h.Drain, Duration)
	Define(to, "handshake-timeout", "duration", "10s", "time for a TLS handshake, and for the header of a request", &h.HandshakeTimeout, Duration)
	Define(to, "request-timeout", "duration", "1m", "time for a request to arrive, with its body", &h.RequestTimeout, Duration)
	Define(to, "first-message", "duration", "10s", "time for a client to say what it wants", &h.FirstMessage, Duration)
	Define(to, "ping-interval", "duration", "30s", "time between two pings of a connection, and for a message of its client to arrive", &h.PingInterval, Duration)
	Define(to, "write-timeout", "duration", "30s", "time a socket may take no byte of what waits for it", &h.WriteTimeout, Duration)
	Define(to, "close-timeout", "duration", "5s", "time for a connection's last frames, and for the client's answer to its close; also for the last requests",
		&h.CloseTimeout, Duration)
}

// Problems tells what no single setting can know.
func (c *Config) Problems() (problems []error) {
	if c.HTTP.MaxPushing < c.HTTP.MaxBody {
		problems = append(problems, Named("max-pushing", "is less than --max-body: no such body could be taken"))
	}
	return problems
}

// Wire makes the hub that the database's feed is for, and gives the HTTP side what it
// takes from both.
func (c *Config) Wire(ctx context.Context, database *db.DB, logger *slog.Logger) (hub *notifier.Hub, err error) {
	hub = notifier.NewHub(notifier.HubConfig{Log: database, RecentBytes: c.RecentBytes, Access: notifier.AccessConfig{
		Policy:   database,
		MaxAge:   c.AccessMaxAge,
		Changes:  database.AccessChanges,
		Accounts: database.AccountGenerations,
		Report:   reportPolicy(logger),
	}})
	if c.HTTP.SessionKey, err = database.SigningKey(ctx); err != nil {
		return nil, err
	}
	c.HTTP.MaxPayload = c.DB.MaxPayload
	c.HTTP.Hub, c.HTTP.Store, c.HTTP.Ready, c.HTTP.Logger = hub, database, database.Ready, logger
	return hub, nil
}

// reportPolicy logs when the policy stops answering, while nothing can be
// delivered, and when it answers again.
func reportPolicy(logger *slog.Logger) func(error) {
	var failing bool // only the feed's goroutine reports
	return func(err error) {
		if (err != nil) == failing {
			return
		}
		if failing = err != nil; failing {
			logger.Error("the access policy fails; nothing is delivered until it answers", "error", err)
		} else {
			logger.Info("the access policy answers again")
		}
	}
}

// Named says which setting a problem is about that several decide together.
func Named(name string, format string, args ...any) error {
	return fmt.Errorf("--%s (%s): %w", name, Variable(name), fmt.Errorf(format, args...))
}
