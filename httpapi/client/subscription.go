package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// silence is how long a server that pings every 30 s may say nothing.
	silence = 100 * time.Second
	// maxFrame bounds a frame: it may carry all events of one push.
	maxFrame = 256 << 20
)

// The ways in which a server ends a subscription for good.
var (
	ErrDropped = errors.New("the server dropped the user")
	ErrRefused = errors.New("the server refused the subscription")
)

var errSilence = fmt.Errorf("no ping from the server for %s", silence)

// Subscription is one connection that receives a user's events. One goroutine
// may use it.
type Subscription struct {
	conn   *websocket.Conn
	timer  *time.Timer // runs during Next; ends the connection
	silent atomic.Bool
}

// Subscribe connects and asks for the events of a user, those that are stored
// first: all whose created_at is since or later.
func (c *Client) Subscribe(ctx context.Context, user string, since int64) (*Subscription, error) {
	announcement, err := json.Marshal(map[string]any{"access_id": user, "timestamp": since})
	if err != nil {
		return nil, fmt.Errorf("encode announcement: %w", err)
	}
	s := &Subscription{}
	s.timer = time.AfterFunc(silence, s.fallSilent)
	s.timer.Stop()
	if s.conn, err = c.dial(ctx, s.heard); err != nil {
		return nil, err
	}
	s.conn.SetReadLimit(maxFrame)
	if err := s.conn.Write(ctx, websocket.MessageText, announcement); err != nil {
		s.conn.CloseNow()
		return nil, fmt.Errorf("announce: %w", err)
	}
	return s, nil
}

func (c *Client) dial(ctx context.Context, heard func()) (*websocket.Conn, error) {
	conn, response, err := websocket.Dial(ctx, c.base.JoinPath("subscribe_to_events").String(), &websocket.DialOptions{
		HTTPClient: c.http,
		OnPingReceived: func(context.Context, []byte) bool {
			heard()
			return true
		},
	})
	switch {
	case err == nil:
		return conn, nil
	case response != nil && response.StatusCode != http.StatusSwitchingProtocols:
		text, _ := io.ReadAll(response.Body) // the library holds 1 KiB of it
		return nil, newStatusError(response, text)
	}
	return nil, reach(c.base, err)
}

// heard is called during Next only, as the timer runs then.
func (s *Subscription) heard() { s.timer.Reset(silence) }

func (s *Subscription) fallSilent() {
	s.silent.Store(true)
	s.conn.CloseNow()
}

// Next waits for the next frame and returns its events. After an error the
// subscription is of no use any more.
func (s *Subscription) Next(ctx context.Context) ([]Event, error) {
	s.timer.Reset(silence)
	_, frame, err := s.conn.Read(ctx)
	s.timer.Stop()
	if err != nil {
		return nil, s.ending(ctx, err)
	}
	var events []Event
	if err := json.Unmarshal(frame, &events); err != nil {
		return nil, fmt.Errorf("%w: %.100q", ErrRefused, frame)
	}
	return events, nil
}

// ending tells why reading ended.
func (s *Subscription) ending(ctx context.Context, err error) error {
	closed, ok := errors.AsType[websocket.CloseError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.silent.Load():
		return errSilence
	case !ok:
		return fmt.Errorf("read: %w", err)
	case closed.Code == websocket.StatusNormalClosure && closed.Reason == "close":
		return ErrDropped
	}
	return fmt.Errorf("server closed the connection: %w", &closeError{closed.Code, closed.Reason})
}

// closeError is what a close frame says.
type closeError struct {
	code   websocket.StatusCode
	reason string
}

// Error names the code and the reason.
func (e *closeError) Error() string { return fmt.Sprintf("%d %q", e.code, e.reason) }

// retryAfter is when a server that restarts asks to be asked again; 0: it does
// not say. The reason ends with "retry in N ms".
func (e *closeError) retryAfter() time.Duration {
	_, hint, found := strings.Cut(e.reason, "retry in ")
	digits, exact := strings.CutSuffix(hint, " ms")
	ms, err := strconv.ParseUint(digits, 10, 16)
	if !found || !exact || err != nil || e.code != websocket.StatusServiceRestart {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Close ends the connection; a second time it does nothing.
func (s *Subscription) Close() {
	s.timer.Stop()
	s.conn.Close(websocket.StatusNormalClosure, "")
	s.conn.CloseNow()
}
