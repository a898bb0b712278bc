package seamtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"github.com/coder/websocket"
)

// dialect is how a protocol's clients resume and what they are sent.
type dialect interface {
	// path is where its WebSockets begin.
	path() string
	// resume subscribes, each topic from its cursor on, and returns once the
	// answers are there. What comes in between is handed on.
	resume(s *session) error
	// read hands an incoming message on.
	read(s *session, message []byte) error
}

// client is one of a dialect that is cut off again and again. It keeps a cursor for
// each topic, as several may be subscribed to one after the other.
type client struct {
	t       *testing.T
	dialect dialect
	topics  []string
	rng     *rand.Rand
	proxies []*dbtest.Proxy

	mu      sync.Mutex
	cursors map[string]string
	had     []string // the tokens of the events
	cuts    int
}

// session is one connection of a client.
type session struct {
	*client
	ctx      context.Context
	ws       *websocket.Conn
	attached []string // topics, where each has a command of its own
}

var errGap = errors.New("told of a gap")

// run connects until the context ends.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		life := time.Duration(10+c.rng.IntN(500)) * time.Millisecond
		if c.rng.IntN(8) == 0 {
			life = 2 * time.Second // now and then, heartbeats get through
		}
		err := c.connect(ctx, life)
		c.mu.Lock()
		c.cuts++
		c.mu.Unlock()
		if errors.Is(err, errGap) {
			c.t.Errorf("%T: %v", c.dialect, err)
			return
		}
		pause(ctx, time.Duration(c.rng.IntN(40))*time.Millisecond)
	}
}

func (c *client) connect(ctx context.Context, life time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	proxy := c.proxies[c.rng.IntN(len(c.proxies))]
	if _, ok := c.dialect.(sse); ok {
		return c.follow(ctx, proxy.URL())
	}
	ws, _, err := websocket.Dial(ctx, proxy.URL()+c.dialect.path(), nil)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	s := &session{client: c, ctx: ctx, ws: ws}
	if err := c.dialect.resume(s); err != nil {
		return err
	}
	for {
		message, err := s.next()
		if err != nil {
			return err
		}
		if err := c.dialect.read(s, message); err != nil {
			return err
		}
		if c.rng.IntN(50) == 0 {
			pause(ctx, time.Duration(c.rng.IntN(300))*time.Millisecond) // a slow one
		}
	}
}

func (s *session) next() ([]byte, error) {
	_, message, err := s.ws.Read(s.ctx)
	return message, err
}

func (s *session) send(format string, args ...any) error {
	return s.ws.Write(s.ctx, websocket.MessageText, fmt.Appendf(nil, format, args...))
}

func (c *client) cursor(topic string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursors[topic]
}

// receive notes an event and, at once, the cursor of its topic.
func (c *client) receive(topic string, payload []byte, cursor string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.had = append(c.had, string(payload))
	c.cursors[topic] = cursor
}

// move sets the cursors of some topics; without any, that of all together.
func (c *client) move(cursor string, topics ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(topics) == 0 {
		topics = []string{""}
	}
	for _, topic := range topics {
		c.cursors[topic] = cursor
	}
}
