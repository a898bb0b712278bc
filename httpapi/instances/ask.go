package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"example.com/notifier/notifier"
)

const (
	// askTimeout bounds each question to another instance.
	askTimeout = 2 * time.Second
	// maxAnswer bounds an answer, and maxAnswers all that are had at once, in
	// bytes.
	maxAnswer  = 8 << 20
	maxAnswers = 64 << 20
)

// What an instance is said to have done that gave no answer.
var (
	errNoAddress  = errors.New("has no admin address")
	errTimeout    = errors.New("did not answer: timeout")
	errRefused    = errors.New("did not answer: connection refused")
	errSilent     = errors.New("did not answer")
	errOther      = errors.New("another instance answers at its admin address")
	errTooLarge   = errors.New("its answer is too large")
	errUnreadable = errors.New("its answer can't be understood")
)

// Asker asks other instances. It is safe for use by several goroutines.
type Asker struct{ client *http.Client }

// NewAsker returns one that keeps no connection between two questions.
func NewAsker() *Asker {
	return &Asker{&http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{ // no Proxy: instances reach each other directly
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Ask puts a question to all of them at once, and returns their answers in the same
// order, with the head that the table gives. Of a report, head returns the place of
// its head.
func Ask[T any](ctx context.Context, a *Asker, others []notifier.Instance, path string, query url.Values, head func(*T) *Head) []T {
	answers := make([]T, len(others))
	limit := int64(maxAnswer)
	if len(others) > 0 {
		limit = min(limit, maxAnswers/int64(len(others)))
	}
	query.Set("scope", "here")
	var asking sync.WaitGroup
	for i, other := range others {
		asking.Go(func() { // ends with its answer, or when its time is over
			answer, err := ask(ctx, a, other, path+"?"+query.Encode(), limit, head)
			known := HeadOf(other)
			if err != nil {
				known.Error = err.Error()
			}
			*head(&answer) = known
			answers[i] = answer
		})
	}
	asking.Wait()
	return answers
}

func ask[T any](ctx context.Context, a *Asker, other notifier.Instance, path string, limit int64, head func(*T) *Head) (none T, err error) {
	if other.AdminURL == "" {
		return none, errNoAddress
	}
	at, err := ParseURL(other.AdminURL)
	if err != nil {
		return none, err
	}
	body, err := a.get(ctx, at+path, limit)
	if err != nil {
		return none, err
	}
	var report Report[T]
	if json.Unmarshal(body, &report) != nil || len(report.Instances) != 1 {
		return none, errUnreadable
	}
	answer := report.Instances[0]
	if head(&answer).Instance != other.ID {
		return none, errOther
	}
	return answer, nil
}

func (a *Asker) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errSilent
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, silence(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, silence(err)
	case int64(len(body)) > limit:
		return nil, errTooLarge
	}
	return body, nil
}

// silence words why there is no answer; the error itself would name addresses.
func silence(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return errTimeout
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errRefused
	}
	return errSilent
}

// ParseURL returns the address of an instance without what it can't have: it is
// nothing but a scheme, a host and a port.
func ParseURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("its admin address is not of the form http://host:port")
	}
	return u.Scheme + "://" + u.Host, nil
}
