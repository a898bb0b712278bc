package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/httpapi/proxies"
	"example.com/notifier/notifier"
)

// Store is where events are kept, as the HTTP side needs it.
type Store interface {
	// Publish stores all events of a publication, or none. An error that wraps
	// [notifier.ErrUnstorable] is the publication's own fault.
	Publish(ctx context.Context, p notifier.Publication) error
	// DropUser has every instance end the user's connections; by is who asked.
	DropUser(ctx context.Context, user, by string) error
	// Replay yields the stored events that any of the filters wants and the point
	// covers, oldest first, each once. It may be kept waiting by what it yields to.
	Replay(ctx context.Context, filters []notifier.Filter, until notifier.Point, page func([]*notifier.Event) error) error
	// Latest yields the newest stored events that the filter, of one type, wants
	// and the point covers, the newest first, in pages, until yield has had
	// enough. How far back it looks is bounded.
	Latest(ctx context.Context, f notifier.Filter, until notifier.Point, yield func([]*notifier.Event) (enough bool, err error)) error
	// Resumable reports whether all that a cursor does not cover is still stored,
	// in the history that the log has now.
	Resumable(ctx context.Context, c notifier.Cursor) (bool, error)
	// Admit asks the policy about a user who wants to subscribe to an object;
	// without one, type and key are empty.
	Admit(ctx context.Context, user, eventType, key string) (notifier.Admission, error)
	// UserCredentials returns what is kept of a user for logging in; without
	// such a user found is false.
	UserCredentials(ctx context.Context, user string) (c notifier.Credentials, found bool, err error)
	// AccountGenerations returns the generations of those users whose accounts
	// are there and not disabled, as of one position.
	AccountGenerations(ctx context.Context, users []string) (generations map[string]int64, at notifier.Position, err error)
	// ExtendSession notes that who has logged in to the account has got a token
	// with that end.
	ExtendSession(ctx context.Context, account notifier.Account, until time.Time) error
	// SessionEnd returns the last end of such tokens, of any instance; zero if
	// there is none, or the account is not what it was.
	SessionEnd(ctx context.Context, account notifier.Account) (until time.Time, err error)
}

// Config is what a [Server] is made from. Zero means the default, negative is
// an error.
type Config struct {
	// Hub delivers the events; required. Connections are refused until it has
	// been started.
	Hub *notifier.Hub
	// Store keeps the events; required.
	Store Store
	// Ready says why the server cannot do its work, nil if it can; required.
	Ready func() error
	// Logger takes what is worth telling; default: nothing is told.
	Logger *slog.Logger

	// Tokens verifies what clients show that is no token of our own; nil: no
	// such token is any good.
	Tokens Verifier
	// SessionKey, of [auth.KeySize] bytes, signs the tokens that who logs in by
	// a password gets. Instances with the same key take those of each other;
	// default: a random one, so they end with the process.
	SessionKey []byte
	// PlainPasswords takes passwords also over plain HTTP from other hosts.
	PlainPasswords bool
	// Anonymous lets a client without a token do everything.
	Anonymous bool
	// AllowedOrigins are the web pages of other hosts that may use the server
	// in anonymous mode, as scheme://host[:port], "null" (a page opened from a
	// file) or "*"; default: none.
	AllowedOrigins []string
	// AllowedHosts are the names, with or without a port, by which the server
	// may be called in anonymous mode, and at the operators' address, besides
	// loopback and IP addresses; default: none.
	AllowedHosts []string

	// NoConsole leaves the console out, the page at the root.
	NoConsole bool

	// Operation is what operators can ask for; default: for this server alone.
	Operation Operation

	// SysadmTypes are the types of events that sysadm's clients may subscribe
	// to, besides dispatcher, life-preserver, system-state and SysadmLatest;
	// "*" is any.
	SysadmTypes []string
	// SysadmLatest are the types whose newest event a sysadm client gets as soon
	// as it subscribes; default: life-preserver and system-state; empty and not
	// nil: none.
	SysadmLatest []string

	// Proxies are those that are believed when they say where a client is;
	// default: none. Their connections may use the PROXY protocol if the
	// listener is theirs too, see [proxies.Trusted.Listener].
	Proxies proxies.Trusted

	// MaxBody bounds the body of a push, in bytes; default 16 MiB.
	MaxBody int64
	// MaxPayload bounds an event's payload, in bytes: a larger one would be
	// delivered as null; default 1 MiB.
	MaxPayload int
	// MaxList bounds the events of a push; default 100,000.
	MaxList int
	// MaxPushing bounds the bytes of all bodies that are being taken at once,
	// a push beyond it is told to try again; default 64 MiB, at least MaxBody.
	MaxPushing int64
	// MaxRequests bounds the requests that are served at once, and the
	// connections that are no WebSockets, or not yet; default 10,000. How a server
	// is doing can be asked all the same, once connected.
	MaxRequests int
	// MaxMessage bounds a message of a client on a WebSocket, in bytes;
	// default 64 KiB.
	MaxMessage int64
	// MaxConnections bounds the WebSockets open at once; default 50,000.
	MaxConnections int
	// MaxConnectionsPerUser bounds those of one user, whatever the protocol;
	// those who are anonymous and name nobody are not counted; default 1,000.
	MaxConnectionsPerUser int
	// MaxConnectionsPerAddress bounds those from one address, or one network of
	// 64 bits of IPv6. Behind one address may be a whole office, or a proxy that
	// is not in Proxies; default: [Unlimited].
	MaxConnectionsPerAddress int
	// MaxConnects bounds the WebSockets begun in a second, and five times as many
	// at once after a pause; default 2,000.
	MaxConnects int
	// MaxCommands bounds the messages that are taken of one WebSocket in a
	// second; after a pause, so many at once as it may have subscriptions. What
	// is beyond it waits; default 100.
	MaxCommands int
	// MaxSubscriptions bounds what one WebSocket is subscribed to at once. A
	// subscription counts once for each value it lists and for each 64 bytes of
	// its name, so that it also bounds the memory; default 10,000.
	MaxSubscriptions int
	// MaxReplays bounds the replays that read from the store at once, others
	// wait; default 32. Eight times as many may hold a page that waits for its
	// client.
	MaxReplays int

	// HandshakeTimeout is how long a TLS handshake may take, and how long a
	// request's header; default 10 s.
	HandshakeTimeout time.Duration
	// RequestTimeout is how long a request may take to arrive, with its body;
	// default 1 minute.
	RequestTimeout time.Duration
	// FirstMessage is how long a client may take to say what it wants; default
	// 10 s.
	FirstMessage time.Duration
	// PingInterval is the time between two pings of a connection, and how long a
	// client's message may take to arrive, at least; default 30 s.
	PingInterval time.Duration
	// WriteTimeout is how long a socket may take not a single byte of what
	// waits for it; default 30 s.
	WriteTimeout time.Duration
	// CloseTimeout is how long the last frames of a connection and the client's
	// answer to its close frame may take together, and requests that are under
	// way when the server stops; default 5 s.
	CloseTimeout time.Duration
	// Drain is the time over which connections are closed when the server
	// stops; default 10 s.
	Drain time.Duration

	// Outbox bounds what waits for one client; its zero fields mean its own
	// defaults.
	Outbox notifier.OutboxLimits
	// SendBuffer is the size of a socket's send buffer in the kernel, in
	// bytes: what a client that stops reading can hold there, unseen by the
	// outbox. Linux doubles it for its own needs. Default 128 KiB.
	SendBuffer int
}

// complete fills in the defaults and reports all problems at once.
func (c Config) complete() (Config, error) {
	var problems []error
	require := func(ok bool, what string) {
		if !ok {
			problems = append(problems, errors.New(what))
		}
	}
	require(c.Hub != nil, "hub is missing")
	require(c.Store != nil, "store is missing")
	require(c.Ready != nil, "ready is missing")
	if len(c.SessionKey) == 0 {
		c.SessionKey = make([]byte, auth.KeySize)
		rand.Read(c.SessionKey) // never returns an error
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.SysadmLatest == nil {
		c.SysadmLatest = []string{sysadmLifePreserver, sysadmSystemState}
	}
	require(!slices.Contains(c.SysadmLatest, sysadmAnyType), "sysadm latest: it needs the names of types, not *")
	problems = append(problems,
		orDefault(&c.MaxBody, 16<<20, "max body"),
		orDefault(&c.MaxPayload, 1<<20, "max payload"),
		orDefault(&c.MaxList, 100_000, "max list"),
		orDefault(&c.MaxPushing, max(64<<20, c.MaxBody), "max pushing"),
		orDefault(&c.MaxRequests, 10_000, "max requests"),
		orDefault(&c.MaxMessage, 64<<10, "max message"),
		orDefault(&c.MaxConnections, 50_000, "max connections"),
		orDefault(&c.MaxConnectionsPerUser, 1000, "max connections per user"),
		orDefault(&c.MaxConnectionsPerAddress, Unlimited, "max connections per address"),
		orDefault(&c.MaxConnects, 2000, "max connects"),
		orDefault(&c.MaxCommands, 100, "max commands"),
		orDefault(&c.MaxSubscriptions, 10_000, "max subscriptions"),
		orDefault(&c.MaxReplays, 32, "max replays"),
		orDefault(&c.HandshakeTimeout, 10*time.Second, "handshake timeout"),
		orDefault(&c.RequestTimeout, time.Minute, "request timeout"),
		orDefault(&c.FirstMessage, 10*time.Second, "first message"),
		orDefault(&c.PingInterval, 30*time.Second, "ping interval"),
		orDefault(&c.WriteTimeout, 30*time.Second, "write timeout"),
		orDefault(&c.CloseTimeout, 5*time.Second, "close timeout"),
		orDefault(&c.Drain, 10*time.Second, "drain"),
		orDefault(&c.SendBuffer, 128<<10, "send buffer"),
		notNegative(c.Outbox.Events, "outbox events"),
		notNegative(c.Outbox.Bytes, "outbox bytes"),
	)
	require(c.MaxPushing >= c.MaxBody, "max pushing is less than max body: no such body could be taken")
	return c, errors.Join(problems...)
}

func orDefault[T int | int64 | time.Duration](value *T, standard T, name string) error {
	if *value == 0 {
		*value = standard
	}
	return notNegative(*value, name)
}

func notNegative[T int | int64 | time.Duration](value T, name string) error {
	if value < 0 {
		return fmt.Errorf("%s is negative: %v", name, value)
	}
	return nil
}
