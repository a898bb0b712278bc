package seamtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Dialect is how a protocol's clients resume and what they are sent.
type Dialect interface {
	// path is where its WebSockets begin.
	path() string
	// resume subscribes, each topic from its cursor on, and returns once the
	// answers are there. What comes in between is handed on.
	resume(s *session) error
	// read hands an incoming message on.
	read(s *session, message []byte) error
}

// Client is one of a dialect that is cut off again and again. It keeps a cursor for
// each topic, as several may be subscribed to one after the other. Its fields are
// set before it runs.
type Client struct {
	Dialect Dialect
	Topics  []string
	// User is whom it is; only ernius says so in its message.
	User string
	// Token is shown at the handshake; "": none is.
	Token string
	// Reach returns the URL for the next connection: http, with a host.
	Reach func() string
	// Restless has it end its connections by itself, and read slowly at times; else
	// it reads until it is cut off.
	Restless bool

	t       testing.TB
	rng     *rand.Rand
	mu      sync.Mutex
	cursors map[string]string
	had     []string // the tokens of the events
	cuts    int
	cut     time.Time // when the last connection ended, if no event has come since
	gaps    []Gap
}

// Gap is a time without events: from the end of a connection to the first event on
// another.
type Gap struct{ From, To time.Time }

// session is one connection of a client.
type session struct {
	*Client
	ctx      context.Context
	ws       *websocket.Conn
	attached []string // topics, where each has a command of its own
}

var errGap = errors.New("told of a gap")

// NewClient makes one of user "reader" that begins at a cursor.
func NewClient(t testing.TB, d Dialect, start string, topics ...string) *Client {
	c := &Client{Dialect: d, Topics: topics, User: "reader", t: t, cursors: map[string]string{"": start}}
	c.rng = rand.New(rand.NewPCG(uint64(len(topics)), rand.Uint64())) //nolint:gosec // made up
	for _, topic := range topics {
		c.cursors[topic] = start
	}
	return c
}

// Cast is a client of each kind: of each dialect, with topics that overlap, and with
// some of which little comes.
func Cast(t testing.TB, start string) []*Client {
	return []*Client{
		NewClient(t, Ernius{}, start),
		NewClient(t, Airlay{}, start, "loud 1", "loud 3", "loud 4", QuietTopic),
		NewClient(t, DRP{}, start, "loud.save.1,2,3", "*.*.3,4,5"),
		NewClient(t, DRP{}, start, "quiet.*.*"),
		NewClient(t, SSE{}, start, "loud.save.1,2,3", "*.*.3,4,5"),
		NewClient(t, SSE{}, start, "quiet.*.*"),
		NewClient(t, Sysadm{}, start, "loud", "quiet"),
		NewClient(t, Sysadm{}, start, "quiet"),
	}
}

// Run connects, again and again, until the context ends.
func (c *Client) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.live(ctx)
		c.mu.Lock()
		c.cuts++
		if c.cut.IsZero() {
			c.cut = time.Now()
		}
		c.mu.Unlock()
		if errors.Is(err, errGap) {
			c.t.Errorf("%v: %v", c, err)
			return
		}
		pause(ctx, time.Duration(c.rng.IntN(40))*time.Millisecond)
	}
}

// live is the life of one connection.
func (c *Client) live(ctx context.Context) error {
	if c.Restless {
		life := time.Duration(10+c.rng.IntN(500)) * time.Millisecond
		if c.rng.IntN(8) == 0 {
			life = 2 * time.Second // now and then, heartbeats get through
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, life)
		defer cancel()
	}
	return c.connect(ctx)
}

func (c *Client) connect(ctx context.Context) error {
	url := c.Reach()
	if _, ok := c.Dialect.(SSE); ok {
		return c.follow(ctx, url)
	}
	ws, _, err := websocket.Dial(ctx, url+c.Dialect.path(), &websocket.DialOptions{HTTPHeader: c.header()})
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	s := &session{Client: c, ctx: ctx, ws: ws}
	if err := c.Dialect.resume(s); err != nil {
		return err
	}
	for {
		message, err := s.next()
		if err != nil {
			return err
		}
		if err := c.Dialect.read(s, message); err != nil {
			return err
		}
		if c.Restless && c.rng.IntN(50) == 0 {
			pause(ctx, time.Duration(c.rng.IntN(300))*time.Millisecond) // a slow one
		}
	}
}

func (c *Client) header() http.Header {
	header := http.Header{}
	if c.Token != "" {
		header.Set("Authorization", "Bearer "+c.Token)
	}
	return header
}

func (s *session) next() ([]byte, error) {
	_, message, err := s.ws.Read(s.ctx)
	return message, err
}

func (s *session) send(format string, args ...any) error {
	return s.ws.Write(s.ctx, websocket.MessageText, fmt.Appendf(nil, format, args...))
}

func (c *Client) cursor(topic string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursors[topic]
}

// receive notes an event and, at once, the cursor of its topic.
func (c *Client) receive(topic string, payload []byte, cursor string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut.IsZero() {
		c.gaps = append(c.gaps, Gap{From: c.cut, To: time.Now()})
		c.cut = time.Time{}
	}
	c.had = append(c.had, string(payload))
	c.cursors[topic] = cursor
}

// move sets the cursors of some topics; without any, that of all together.
func (c *Client) move(cursor string, topics ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(topics) == 0 {
		topics = []string{""}
	}
	for _, topic := range topics {
		c.cursors[topic] = cursor
	}
}

// String names the client in a failure.
func (c *Client) String() string {
	return strings.TrimPrefix(fmt.Sprintf("%T %q of %s", c.Dialect, c.Topics, c.User), "seamtest.")
}

// Count is how many events it has had.
func (c *Client) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.had)
}

// Had tells whether it has had the event with that payload.
func (c *Client) Had(payload string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.had, payload)
}

// Connections is how many of its connections have ended.
func (c *Client) Connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// Gaps are the times without events that have ended.
func (c *Client) Gaps() []Gap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Gap(nil), c.gaps...)
}
