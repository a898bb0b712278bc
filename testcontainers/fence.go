package testcontainers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"example.com/notifier/db/fixture"
)

// A fence is an event that is published to find out what a subscriber does not get.
// Whatever was committed before it, and is for the subscriber, comes before it: a row's
// number is drawn before its transaction commits, so the fence has a higher one than
// all of them, and is in the same batch or a later one.

// fenceMember is the one member of a fence's payload. All protocols carry payloads.
const fenceMember = "notifier-fence"

func (s *Subscriber) fenceType() string { return s.instance.environment.suite.config.fence }

// fenceFilter wants the subscriber's own fences. Others of its user may come all the
// same, where the protocol or the topics know no better; they are left out.
func (s *Subscriber) fenceFilter() string {
	// The filter's own characters have escapes, see the README on Digital Rebar.
	escaped := strings.NewReplacer(".", `\1`, ",", `\2`, "*", `\3`).Replace(s.fenceType())
	return escaped + ".*." + s.topic
}

// fenceOf returns what a fence says, which is its name.
func fenceOf(e Event) (nonce string, ok bool) {
	if !bytes.Contains(e.Payload, []byte(fenceMember)) {
		return "", false
	}
	payload := e.Payload
	if e.carries.has(wrapsPayload) {
		var elements []json.RawMessage
		if json.Unmarshal(payload, &elements) != nil || len(elements) != 1 {
			return "", false
		}
		payload = elements[0]
	}
	var told map[string]string
	if json.Unmarshal(payload, &told) != nil || len(told) != 1 {
		return "", false
	}
	nonce, ok = told[fenceMember]
	return nonce, ok
}

// publishFence publishes one now, and returns what it says.
func (s *Subscriber) publishFence(ctx context.Context) (nonce string, err error) {
	e := s.instance.environment
	e.mu.Lock()
	e.count++
	nonce = fmt.Sprintf("%s/%d", s.topic, e.count)
	e.mu.Unlock()
	payload := fmt.Sprintf(`{"%s":%q}`, fenceMember, nonce)
	if err := fixture.Publish(ctx, e.pool, s.fenceType(), s.topic, s.User, payload); err != nil {
		return "", fmt.Errorf("publish the event that is to come last: %w", err)
	}
	return nonce, nil
}

func (s *Subscriber) fenceCame(nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.fences[nonce]
	return there
}

// fence returns how many events had come before one that was published now.
func (s *Subscriber) fence(ctx context.Context) (before int, err error) {
	nonce, err := s.publishFence(ctx)
	if err != nil {
		return 0, err
	}
	var there bool
	came := s.until(ctx, func() bool {
		before, there = s.fences[nonce]
		return there || s.ended != nil || s.session == nil
	})
	switch {
	case there:
		return before, nil
	case came:
		return len(s.Events()), s.disconnected()
	}
	return 0, fmt.Errorf("what was published to %s last, an event of type %s, has not come: "+
		"is the connection stalled, is notifier cut off, or may the user not read such events (see FenceType)?", s.User, s.fenceType())
}

// disconnected says why nothing can come any more.
func (s *Subscriber) disconnected() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return fmt.Errorf("the connection has ended: code %d, %q", s.ended.Code, s.ended.Reason)
	}
	return fmt.Errorf("the client is not connected")
}
