package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// site is what is reached through the balancer.
type site struct {
	address string
	token   string // of an admin who may publish, too
}

// ask sends a request and returns the status and the answer.
func (s site) ask(ctx context.Context, method, path, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Content-Type", "application/json")
	// What a client says of itself and of others must not count.
	request.Header.Set("X-Forwarded-For", "9.9.9.9")
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// publish stores an event for a user, once, however often that takes a second try.
func (s site) publish(t *testing.T, user string, number int) {
	t.Helper()
	event := fmt.Sprintf(`[{"accessid":%q,"created_at":%d,"payload":%d,"idempotency_key":"%d"}]`, user, number, number, number)
	eventually(t, "the event is stored", func() bool {
		status, text, err := s.ask(t.Context(), http.MethodPost, "/push_events", event)
		return err == nil && status == http.StatusOK && strings.TrimSpace(text) == "true"
	})
}

// connected asks which clients the instances have: their addresses, by the instance.
func (s site) connected(t *testing.T) map[string][]string {
	t.Helper()
	status, text, err := s.ask(t.Context(), http.MethodGet, "/admin/clients", "")
	var report struct {
		Instances []struct {
			Name, Error string
			Clients     []struct{ Protocol, Address string }
		}
	}
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(text), &report) != nil {
		return nil // none can be asked now
	}
	found := map[string][]string{}
	for _, i := range report.Instances {
		name, _, _ := strings.Cut(i.Name, ":")
		for _, c := range i.Clients {
			found[name] = append(found[name], c.Address)
		}
	}
	return found
}

// follower is a client of ernius' protocol that keeps its cursor, and comes again
// through the balancer when its connection ends.
type follower struct {
	mu       sync.Mutex
	cursor   string
	got      []int
	begun    int            // connections that were told where they go on
	verdicts map[string]int // what they were told
	endings  map[string]int // why connections ended
}

// follow follows until the context ends; the cleanup waits for it.
func follow(t *testing.T, s site, user, token string) *follower {
	t.Helper()
	f := &follower{verdicts: map[string]int{}, endings: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // ends with the context
		defer close(ended)
		for ctx.Err() == nil {
			f.ended(f.connect(ctx, s, user, token))
			select {
			case <-time.After(200 * time.Millisecond): // as a client would, that does not ask in vain all the time
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return f
}

func (f *follower) ended(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	why := "broken"
	if e, ok := errors.AsType[websocket.CloseError](err); ok {
		why, _, _ = strings.Cut(fmt.Sprintf("%d %s", e.Code, e.Reason), ";")
	}
	f.endings[why]++
}

// connect is one connection, from its beginning to its end.
func (f *follower) connect(ctx context.Context, s site, user, token string) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+s.address+"/subscribe_to_events", &websocket.DialOptions{ //nolint:bodyclose // closed by the library
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}, "X-Forwarded-For": {"9.9.9.9"}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	f.mu.Lock()
	first, err := json.Marshal(map[string]string{"access_id": user, "cursor": f.cursor})
	f.mu.Unlock()
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, first)
	}
	for err == nil {
		var message []byte
		if _, message, err = conn.Read(ctx); err == nil {
			err = f.take(message)
		}
	}
	return err
}

func (f *follower) take(message []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if message[0] == '{' {
		var told struct{ Verdict, Cursor string }
		if err := json.Unmarshal(message, &told); err != nil {
			return err
		}
		if told.Verdict != "" {
			f.begun++
			f.verdicts[told.Verdict]++
		}
		f.cursor = told.Cursor
		return nil
	}
	var events []struct {
		Payload int
		Cursor  string
	}
	if err := json.Unmarshal(message, &events); err != nil {
		return err
	}
	for _, e := range events {
		f.got = append(f.got, e.Payload)
		f.cursor = e.Cursor
	}
	return nil
}

// has reports how many events have come, and how many connections were begun.
func (f *follower) has() (events, connections int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got), f.begun
}
