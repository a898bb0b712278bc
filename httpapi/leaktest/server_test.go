package leaktest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

var secret = []byte("a secret of these tests, 32 bytes or more")

// token returns a user's token, which outlasts every test.
func token(user string) string {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(24 * time.Hour).Unix()}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		panic(err)
	}
	return signed
}

// serve runs the HTTP side of an instance until the test ends and returns its
// address.
func (i *instance) serve(t *testing.T) string {
	t.Helper()
	tokens, err := auth.New(t.Context(), auth.Config{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	server, err := httpapi.New(httpapi.Config{
		Hub: i.Hub, Store: i.db, Ready: i.db.Ready, Tokens: tokens, Drain: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the test
		if err := server.Run(ctx, l); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return l.Addr().String()
}

// dial opens a WebSocket that is closed with the context.
func dial(ctx context.Context, addr, path string) (*websocket.Conn, error) {
	ws, _, err := websocket.Dial(ctx, "ws://"+addr+path, nil) //nolint:bodyclose // the library's, nil after an upgrade
	return ws, err
}

// attachment is an airlay request about a dataset.
func attachment(action, user, dataset string) []byte {
	return fmt.Appendf(nil, `{"auth":%q,"action":%q,"event":{"type":"datasetUpdate","id":%q}}`, token(user), action, dataset)
}

// airlayMessage is an answer, if it has a status, or an event.
type airlayMessage struct {
	Status, Code int
	Type, ID     string
	Data         []string
}

func readAirlay(ctx context.Context, ws *websocket.Conn) (m airlayMessage, err error) {
	_, text, err := ws.Read(ctx)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

// caller is a client over a socket: it attaches to a dataset, again and again if
// it may not or is told that it may no longer, and notes the events it gets.
func (v *visitors) call(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := context.AfterFunc(v.over, cancel)
	defer release()
	for ctx.Err() == nil {
		if err := v.callOnce(ctx, addr); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (v *visitors) callOnce(ctx context.Context, addr string) error {
	user, dataset := userName(rand.IntN(users)), someDataset()
	ws, err := dial(ctx, addr, "/ws")
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	one := &call{instance: v.instance, user: user}
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.calls = append(v.calls, one)
	}()
	for range 10 {
		if err := ws.Write(ctx, websocket.MessageText, attachment("attach", user, dataset)); err != nil {
			return err
		}
		for answered := false; ; {
			m, err := readAirlay(ctx, ws)
			switch {
			case err != nil:
				return err
			case m.Status == 0:
				one.names = append(one.names, m.Data...)
				continue
			case m.Code == 0:
				answered = true
				v.count("attachments over a socket")
				continue
			case answered:
				v.count("attachments revoked")
			default:
				v.count("attachments refused")
				v.pages(1) // then access may have changed
			}
			break
		}
	}
	return nil
}

// call is what came over a socket.
type call struct {
	*instance
	user  string
	names []string
}
