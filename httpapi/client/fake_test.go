package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi/client"
	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// dial returns a client of a server that answers as the test wants.
func dial(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNew_RefusesWhatIsNoServerAndQuotesNoPassword(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:8080", "ftp://h", "http://", "http://u:hunter2@h:x/", "://hunter2"} {
		_, err := client.New(address)
		if err == nil {
			t.Errorf("accepted %q", address)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("quotes a password: %v", err)
		}
	}
}

func TestPushRetrying_SendsTheSameKeyUntilItIsStored(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys []string
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		switch len(keys) {
		case 1:
			http.Error(w, "nothing was stored", http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			_, _ = w.Write([]byte("true"))
		}
	})
	if err := c.PushRetrying(t.Context(), []json.RawMessage{[]byte(`{}`)}, "k", time.Minute); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k", "k", "k"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestPushRetrying_EndsWithPatienceOrAtAClearNo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		want   string
	}{
		"patience": {http.StatusServiceUnavailable, "gave up after"},
		"clear no": {http.StatusBadRequest, "server answered 400 Bad Request: created_at is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "created_at is missing", test.status) })
			err := c.PushRetrying(t.Context(), nil, "k", 300*time.Millisecond)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestPush_AnswerOfAnotherServer(t *testing.T) {
	t.Parallel()
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	if err := c.Push(t.Context(), nil, ""); err == nil || !strings.Contains(err.Error(), "is it a notifier?") {
		t.Errorf("error %v", err)
	}
}

// script is what a fake server does with one connection after the other.
type script func(ctx context.Context, conn *websocket.Conn, announcement string)

func serveScripts(t *testing.T, scripts ...script) *client.Client {
	t.Helper()
	next := make(chan script, len(scripts))
	for _, s := range scripts {
		next <- s
	}
	return dial(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_, announcement, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		(<-next)(r.Context(), conn, string(announcement))
	})
}

func send(ctx context.Context, conn *websocket.Conn, frame string) {
	_ = conn.Write(ctx, websocket.MessageText, []byte(frame))
}

func TestWatch_ReconnectsAndShowsEachEventOnce(t *testing.T) {
	t.Parallel()
	announcements := make(chan string, 2)
	c := serveScripts(t,
		func(ctx context.Context, conn *websocket.Conn, announcement string) {
			announcements <- announcement
			send(ctx, conn, `[{"accessid":"u","created_at":5,"payload":"a"},{"accessid":"u","created_at":5,"payload":"a"}]`)
		}, // and the connection breaks
		func(ctx context.Context, conn *websocket.Conn, announcement string) {
			announcements <- announcement
			send(ctx, conn, `[{"accessid":"u","created_at":4,"payload":"late"},{"accessid":"u","created_at":5,"payload":"a"}]`)
			send(ctx, conn, `[{"accessid":"u","created_at":5,"payload":"a"},{"accessid":"u","created_at":6,"payload":"b"}]`)
			conn.Close(websocket.StatusNormalClosure, "close")
		})
	var got []string
	lost := 0
	err := c.Watch(t.Context(), client.WatchConfig{
		User: "u", Since: 3,
		Events: func(events []client.Event) error {
			for _, e := range events {
				got = append(got, string(e.Payload))
			}
			return nil
		},
		Lost: func(error, time.Duration) { lost++ },
	})
	if !errors.Is(err, client.ErrDropped) {
		t.Errorf("ended by %v", err)
	}
	if diff := cmp.Diff([]string{`"a"`, `"a"`, `"late"`, `"b"`}, got); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for range 2 {
		if got, want := <-announcements, `{"access_id":"u","timestamp":3}`; got != want {
			t.Errorf("announced %s, want %s", got, want)
		}
	}
	if lost != 1 {
		t.Errorf("lost %d times, want once", lost)
	}
}

func TestWatch_EndsWhereReconnectingIsNoUse(t *testing.T) {
	t.Parallel()
	refuse := dial(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "foreign Origin", http.StatusForbidden) })
	wrong := serveScripts(t, func(ctx context.Context, conn *websocket.Conn, _ string) { send(ctx, conn, "Wrong JSON announcement") })
	gone := dial(t, http.NotFound)
	for name, test := range map[string]struct {
		client *client.Client
		want   string
	}{
		"refused":            {refuse, "server answered 403 Forbidden: foreign Origin"},
		"wrong announcement": {wrong, `the server refused the subscription: "Wrong JSON announcement"`},
		"no such path":       {gone, "server answered 404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.client.Watch(t.Context(), client.WatchConfig{User: "u"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestWatch_EndsWithItsEventsError(t *testing.T) {
	t.Parallel()
	c := serveScripts(t, func(ctx context.Context, conn *websocket.Conn, _ string) {
		send(ctx, conn, `[{"accessid":"u","created_at":5,"payload":1}]`)
		_, _, _ = conn.Read(ctx)
	})
	enough := errors.New("enough")
	if err := c.Watch(t.Context(), client.WatchConfig{User: "u", Events: func([]client.Event) error { return enough }}); !errors.Is(err, enough) {
		t.Errorf("ended by %v", err)
	}
}

func TestClient_IsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	refusing := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "full", http.StatusServiceUnavailable)
	})
	_, subscribing := refusing.Subscribe(t.Context(), "u", 0)
	for what, err := range map[string]error{"push": refusing.Push(t.Context(), nil, ""), "subscribe": subscribing} {
		if told, ok := errors.AsType[*client.StatusError](err); !ok || told.RetryAfter != 7*time.Second {
			t.Errorf("%s: %v", what, err)
		}
	}
	restarting := serveScripts(t,
		func(_ context.Context, conn *websocket.Conn, _ string) {
			conn.Close(websocket.StatusServiceRestart, "restarting; retry in 321 ms")
		},
		func(_ context.Context, conn *websocket.Conn, _ string) {
			conn.Close(websocket.StatusNormalClosure, "close")
		})
	var paused time.Duration
	err := restarting.Watch(t.Context(), client.WatchConfig{User: "u", Lost: func(_ error, pause time.Duration) { paused = pause }})
	if !errors.Is(err, client.ErrDropped) || paused != 321*time.Millisecond {
		t.Errorf("came again after %v, ended by %v", paused, err)
	}
}
