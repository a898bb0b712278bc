package testcontainers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// sse: all topics in the request.
type sse struct{}

// dial asks. Without topics, it is what is for the user that is wanted, fences too.
func (sse) dial(_ context.Context, s *session) error {
	query := url.Values{"cursor": {s.cursor("")}}
	if len(s.Topics) == 0 {
		query.Set("recipient", "me")
	} else {
		query["topic"] = append([]string{s.fenceFilter()}, s.Topics...)
	}
	request, err := http.NewRequestWithContext(s.life, http.MethodGet, s.base+"/events?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	answer, err := s.http.Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return refused(answer, nil)
	}
	s.stream, s.lines = answer.Body, bufio.NewScanner(answer.Body)
	s.lines.Buffer(nil, maxFrame)
	return nil
}

// nextBlock reads up to an empty line.
func (s *session) nextBlock() ([]byte, error) {
	var block []byte
	for s.lines.Scan() {
		line := s.lines.Bytes()
		if len(line) == 0 && len(block) > 0 {
			return block, nil
		}
		block = append(append(block, line...), '\n')
	}
	if err := s.lines.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// sseBlock is what one says.
type sseBlock struct{ event, data, id string }

func parseBlock(message []byte) (b sseBlock) {
	for line := range strings.Lines(string(message)) {
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			b.event = value
		case "data":
			b.data += value
		case "id":
			b.id = value
		}
	}
	return b
}

// begin waits for the verdict, the first of the server's own words.
func (d sse) begin(ctx context.Context, s *session) (v Verdict, err error) {
	for {
		message, err := s.next(ctx)
		if err != nil {
			return v, err
		}
		b := parseBlock(message)
		if b.event == "" {
			if err := d.take(s, message); err != nil {
				return v, err
			}
			continue
		}
		if err := json.Unmarshal([]byte(b.data), &v); err != nil || v.Word == "" {
			return v, fmt.Errorf("the server answered: %s", b.data)
		}
		if b.id != "" {
			s.move(b.id)
		}
		return v, nil
	}
}

func (sse) take(s *session, message []byte) error {
	b := parseBlock(message)
	switch {
	case b.event != "":
		s.notice([]byte(b.data))
		var told struct{ End, Reason string }
		if json.Unmarshal([]byte(b.data), &told) == nil && told.End != "" {
			s.end = &End{Reason: told.Reason}
		}
	case b.data != "":
		var e struct {
			Type, Action, Key, Recipient, Principal string
			DatasetID                               string    `json:"dataset_id"`
			CreatedAt                               time.Time `json:"created_at"`
			Payload, Original                       json.RawMessage
		}
		if err := json.Unmarshal([]byte(b.data), &e); err != nil {
			return unexpected(message)
		}
		s.receive("", Event{
			Type: e.Type, Action: e.Action, Key: e.Key, Recipient: e.Recipient, DatasetID: e.DatasetID, Principal: e.Principal,
			CreatedAt: e.CreatedAt, Payload: e.Payload, Original: e.Original, Cursor: b.id,
			carries: hasType | hasAction | hasKey | hasRecipient | hasDataset | hasPrincipal | hasOriginal,
		})
		return nil
	}
	if b.id != "" {
		s.move(b.id)
	}
	return nil
}
