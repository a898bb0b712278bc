package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// attemptTimeout bounds one request, and the handshake of a subscription.
const attemptTimeout = 30 * time.Second

// Event is an event as it goes over the wire.
type Event struct {
	AccessID  string          `json:"accessid"`
	CreatedAt int64           `json:"created_at"` // seconds, if the publisher keeps to time
	Payload   json.RawMessage `json:"payload"`
}

// Client knows one server. It may be used by any number of goroutines.
type Client struct {
	base  *url.URL
	http  *http.Client
	token string
}

// New returns a client of the server at an address such as
// http://localhost:8080; ws and wss stand for http and https, and a path for
// the prefix under which a proxy offers the server.
func New(address string) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("parse server URL: it is no URL") // the error would quote it, with any password
	}
	switch base.Scheme {
	case "ws":
		base.Scheme = "http"
	case "wss":
		base.Scheme = "https"
	case "http", "https":
	default:
		return nil, errors.New("parse server URL: it begins with none of http://, https://, ws://, wss://")
	}
	if base.Host == "" {
		return nil, errors.New("parse server URL: it names no host")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &Client{base: base}
	c.http = &http.Client{Transport: bearer{transport, c}, Timeout: attemptTimeout}
	return c, nil
}

// WithToken has the client show a token with everything it asks for; "" is none.
// It is to be called before the client is used, and returns the client.
func (c *Client) WithToken(token string) *Client {
	c.token = token
	return c
}

// bearer adds the token to requests. It is sent to nobody else: a redirect to
// another host goes without.
type bearer struct {
	*http.Transport
	client *Client
}

// RoundTrip sends a request with the token.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.client.token != "" && r.URL.Host == b.client.base.Host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.client.token)
	}
	return b.Transport.RoundTrip(r)
}

// Close gives idle connections back. Subscriptions have their own Close.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Push sends a list of events, each a JSON object as in [Event], to be stored
// whole or not at all. A list with a key that the server knows stores nothing,
// so the same list can be sent again; "" is no key.
func (c *Client) Push(ctx context.Context, events []json.RawMessage, key string) error {
	var body bytes.Buffer
	body.WriteByte('[')
	for i, event := range events {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(event)
	}
	body.WriteByte(']')
	header := http.Header{}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	return c.post(ctx, "push_events", header, &body)
}

// Drop ends every connection of a user.
func (c *Client) Drop(ctx context.Context, user string) error {
	body, err := json.Marshal(map[string]string{"drop_access_id": user})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.post(ctx, "drop_user", http.Header{}, bytes.NewReader(body))
}

func (c *Client) post(ctx context.Context, path string, header http.Header, body io.Reader) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	header.Set("Content-Type", "application/json")
	request.Header = header
	response, err := c.http.Do(request)
	if err != nil {
		return reach(c.base, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxErrorText))
	if err != nil {
		return reach(c.base, err)
	}
	if response.StatusCode != http.StatusOK {
		return newStatusError(response, text)
	}
	if string(text) != "true" {
		return fmt.Errorf("server answered %.40q instead of true: is it a notifier?", text)
	}
	return nil
}

// reach words an error of the transport without what it repeats of the URL.
func reach(base *url.URL, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("reach %s: %w", base.Redacted(), err)
}

const maxErrorText = 1024

// StatusError is an answer other than the one hoped for.
type StatusError struct {
	Status int
	Text   string // what the server said, one line; may be empty
	// RetryAfter is when it asks to be asked again; 0: it does not say.
	RetryAfter time.Duration
}

func newStatusError(response *http.Response, text []byte) *StatusError {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	seconds, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16) // a date is as good as nothing
	return &StatusError{Status: response.StatusCode, Text: line, RetryAfter: time.Duration(seconds) * time.Second}
}

// Error names the status and what the server said.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Temporary tells whether a later attempt may succeed.
func (e *StatusError) Temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// temporary tells whether a later attempt may succeed: all but a clear answer
// that says otherwise.
func temporary(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Temporary()
	}
	return true
}
