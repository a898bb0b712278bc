package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"example.com/notifier/httpapi/instances"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// Explain asks why a user has got an event, or has not. It takes the role admin.
func (c *Client) Explain(ctx context.Context, user, event string) (e instances.Explanation, err error) {
	return e, c.get(ctx, "admin/explain", url.Values{"user": {user}, "event": {event}}, &e)
}

// get reads an answer in JSON.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	at := c.base.JoinPath(path)
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reach(c.base, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorText)) // what has come of it
		var told struct{ Error string }
		if json.Unmarshal(text, &told) == nil && told.Error != "" {
			text = []byte(told.Error)
		}
		return newStatusError(response, text)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}
