package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// block is what came on a stream between two blank lines.
type block struct{ id, event, data, retry, heartbeat, comment string }

// eventSource is a client of a stream.
type eventSource struct {
	t      *testing.T
	answer *http.Response
	in     *bufio.Reader
	close  func()
	lastID string
}

// opens asks for a stream, whatever the answer.
func (s *system) opens(path string, headers ...string) *eventSource {
	s.t.Helper()
	return s.opensBy(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, path, headers...) //nolint:gosec // the certificate is not what is tested
}

func (s *system) opensBy(transport *http.Transport, path string, headers ...string) *eventSource {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*patience) // longer than any wait for one thing
	s.t.Cleanup(func() {
		cancel()
		transport.CloseIdleConnections()
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return &eventSource{t: s.t, answer: answer, in: bufio.NewReader(answer.Body), close: func() {
		cancel()
		_ = answer.Body.Close()
		transport.CloseIdleConnections()
	}}
}

// stream opens a stream that goes on, and reads its first block.
func (s *system) stream(path, verdict string, headers ...string) *eventSource {
	s.t.Helper()
	es := s.opens(path, headers...)
	es.begins(verdict)
	return es
}

func (es *eventSource) begins(verdict string) {
	es.t.Helper()
	if es.answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(es.answer.Body)
		es.t.Fatalf("status %d: %s", es.answer.StatusCode, text)
	}
	if b := es.next(); b.retry == "" || b.heartbeat == "" || b != (block{retry: b.retry, heartbeat: b.heartbeat}) {
		es.t.Fatalf("the stream begins with %+v", b)
	}
	if b := es.next(); b.event != "notifier" || b.data != verdict {
		es.t.Fatalf("the verdict is %+v, not %s", b, verdict)
	}
}

const (
	resumed  = `{"verdict":"resumed","replayed":0}`
	gap      = `{"verdict":"gap","replayed":0}`
	asSource = "Accept: text/event-stream"
)

func replayed(n int) string { return fmt.Sprintf(`{"verdict":"replayed","replayed":%d}`, n) }

// read returns the next block, as it came.
func (es *eventSource) read() (b block, err error) {
	for {
		line, err := es.in.ReadString('\n')
		if err != nil {
			return b, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			if b.id != "" {
				es.lastID = b.id
			}
			return b, nil
		case line == ":\n":
			b.comment = ":"
		case name == "id":
			b.id = value
		case name == "event":
			b.event = value
		case name == "data" && b.data == "":
			b.data = value
		case name == "retry":
			b.retry = value
		case name == "heartbeat":
			b.heartbeat = value
		default:
			return b, fmt.Errorf("what is the line %q?", line)
		}
	}
}

func (es *eventSource) next() block {
	es.t.Helper()
	b, err := es.read()
	if err != nil {
		es.t.Fatalf("waiting for a block: %v", err)
	}
	return b
}

// sseEvent is the object of a message.
type sseEvent struct {
	ID                int64
	Type, Action, Key string
	Recipient         *string
	Payload           json.RawMessage
}

// event returns the next event; blocks without data are passed over.
func (es *eventSource) event() (e sseEvent, b block) {
	es.t.Helper()
	for {
		b = es.next()
		if b.event != "" {
			es.t.Fatalf("in place of an event: %+v", b)
		}
		if b.data == "" {
			continue
		}
		if err := json.Unmarshal([]byte(b.data), &e); err != nil {
			es.t.Fatalf("%s: %v", b.data, err)
		}
		return e, b
	}
}

// keys returns the keys of the next events.
func (es *eventSource) keys(n int) (keys []string) {
	es.t.Helper()
	for range n {
		e, _ := es.event()
		keys = append(keys, e.Key)
	}
	return keys
}

// expectKeys checks those of the next events.
func (es *eventSource) expectKeys(want ...string) {
	es.t.Helper()
	if got := es.keys(len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		es.t.Fatalf("the events have the keys %v, not %v", got, want)
	}
}

// ends reads on to the end of the stream, whose last block says why, and returns
// when to come again.
func (es *eventSource) ends(why string) (retry time.Duration) {
	es.t.Helper()
	var last block
	for {
		b, err := es.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			es.t.Fatalf("waiting for the end: %v", err)
		}
		last = b
	}
	var said struct{ End, Reason string }
	if err := json.Unmarshal([]byte(last.data), &said); err != nil || last.event != "notifier" || said.End != why || said.Reason == "" {
		es.t.Errorf("the last block is %+v, want the end %s", last, why)
	}
	retry, err := time.ParseDuration(last.retry + "ms")
	if err != nil {
		es.t.Errorf("come again after %q: %v", last.retry, err)
	}
	return retry
}

// sseSystem is a server that takes tokens by a secret.
func sseSystem(t *testing.T, d *directory, adjust ...func(*httpapi.Config)) *system {
	t.Helper()
	return setup(t, append([]func(*httpapi.Config){guarded(t, d, bySecret())}, adjust...)...)
}
