package seamtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// SSE names all topics in the request, on HTTP/1.1 without a WebSocket.
type SSE struct{}

func (SSE) path() string { return "/events" }

func (SSE) resume(*session) error { return nil }

func (SSE) read(*session, []byte) error { return nil }

// follow reads a stream until it ends, as EventSource does.
func (c *Client) follow(ctx context.Context, base string) error {
	query := url.Values{"topic": c.Topics}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	request.Header = c.header()
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Last-Event-ID", c.cursor(""))
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	block := map[string]string{}
	for lines.Scan() {
		if line := lines.Text(); line != "" {
			field, value, _ := strings.Cut(line, ":")
			block[field] = strings.TrimPrefix(value, " ")
			continue
		}
		if err := c.takeBlock(block); err != nil {
			return err
		}
		clear(block)
	}
	return lines.Err()
}

// takeBlock notes what a block says, once it is whole.
func (c *Client) takeBlock(block map[string]string) error {
	data, cursor := block["data"], block["id"]
	switch {
	case block["event"] == "notifier":
		var v struct{ Verdict, End string }
		if err := json.Unmarshal([]byte(data), &v); err != nil || v.Verdict == "gap" {
			return fmt.Errorf("%w: %s", errGap, data)
		}
	case data != "":
		var e struct{ Payload json.RawMessage }
		if err := json.Unmarshal([]byte(data), &e); err != nil || cursor == "" {
			return fmt.Errorf("%w: %v", errGap, block)
		}
		c.receive("", e.Payload, cursor)
		return nil
	}
	if cursor != "" {
		c.move(cursor)
	}
	return nil
}
