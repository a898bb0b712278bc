package testcontainers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"example.com/notifier/db/fixture"
)

// unexpected is an error about a message that is none of the protocol's.
func unexpected(message []byte) error { return fmt.Errorf("unexpected message %s", abridged(message)) }

// ernius: one subscription, to what is for a user.
type ernius struct{}

func (ernius) dial(ctx context.Context, s *session) error {
	return s.dialWebSocket(ctx, "/subscribe_to_events")
}

func (d ernius) begin(ctx context.Context, s *session) (v Verdict, err error) {
	if s.WithoutCursors {
		return v, d.announce(ctx, s)
	}
	if err := s.send(ctx, `{"access_id":%s,"cursor":%s}`, text(s.User), text(s.cursor(""))); err != nil {
		return v, err
	}
	message, err := s.next(ctx)
	if err != nil {
		return v, err
	}
	var told struct {
		Verdict
		Cursor string
	}
	if json.Unmarshal(message, &told) != nil || told.Word == "" {
		return v, fmt.Errorf("the server answered: %s", message)
	}
	s.move(told.Cursor)
	return told.Verdict, nil
}

// announce names a time, which gets no answer: that the client is subscribed shows by
// an event, a fence, that was published afterwards. Whatever was published before it, since
// that time, has come then too.
func (d ernius) announce(ctx context.Context, s *session) error {
	e := s.instance.environment
	if s.Since.IsZero() {
		now, err := fixture.Now(ctx, e.pool)
		if err != nil {
			return err
		}
		s.Since = now
	}
	if err := s.send(ctx, `{"access_id":%s,"timestamp":%d}`, text(s.User), s.Since.Unix()); err != nil {
		return err
	}
	nonce, err := s.publishFence(ctx)
	for err == nil && !s.fenceCame(nonce) {
		var message []byte
		if message, err = s.next(ctx); err == nil {
			err = d.take(s, message)
		}
	}
	return err
}

func (ernius) take(s *session, message []byte) error {
	if strings.HasPrefix(string(message), "{") {
		var alone struct{ Verdict, Cursor string }
		if err := json.Unmarshal(message, &alone); err != nil || alone.Verdict != "" {
			s.notice(message)
		}
		s.move(alone.Cursor)
		return nil
	}
	var events []struct {
		AccessID  string
		CreatedAt int64 `json:"created_at"`
		Payload   json.RawMessage
		Cursor    string
	}
	if err := json.Unmarshal(message, &events); err != nil {
		return unexpected(message)
	}
	for _, e := range events {
		s.receive("", Event{
			Recipient: e.AccessID, CreatedAt: time.Unix(e.CreatedAt, 0).UTC(), Payload: e.Payload, Cursor: e.Cursor,
			carries: hasRecipient,
		})
	}
	return nil
}

// airlay: a subscription, and a cursor, for each object.
type airlay struct{}

type airlayMessage struct {
	Verdict
	Status, Code int
	Message      string
	Type, ID     string
	Data         json.RawMessage
	Cursor       string
}

func (airlay) dial(ctx context.Context, s *session) error { return s.dialWebSocket(ctx, "/ws") }

// begin returns the first verdict that is none of "nothing was missed", or how many
// events were, of all objects.
func (a airlay) begin(ctx context.Context, s *session) (v Verdict, err error) {
	total := Verdict{Word: "resumed"}
	for _, topic := range append([]string{s.fenceType() + "/" + s.topic}, s.Topics...) {
		if v, err = a.attach(ctx, s, topic); err != nil {
			return v, fmt.Errorf("attach to %s: %w", topic, err)
		}
		total.Replayed += v.Replayed
		if v.Word == "gap" || v.Word != "resumed" && total.Word == "resumed" {
			total.Word = v.Word
		}
	}
	return total, nil
}

func (a airlay) attach(ctx context.Context, s *session, topic string) (v Verdict, err error) {
	kind, id, _ := strings.Cut(topic, "/")
	err = s.send(ctx, `{"auth":%s,"action":"attach","event":{"type":%s,"id":%s}%s}`,
		text(s.token()), text(kind), text(id), s.cursorMember(topic))
	if err != nil {
		return v, err
	}
	for {
		message, err := s.next(ctx)
		if err != nil {
			return v, err
		}
		var m airlayMessage
		if err := json.Unmarshal(message, &m); err != nil {
			return v, unexpected(message)
		}
		switch m.Status {
		case 0:
			if err := a.take(s, message); err != nil {
				return v, err
			}
		case 200:
			s.move(m.Cursor, topic)
			s.attached = append(s.attached, topic)
			return m.Verdict, nil
		default:
			return v, fmt.Errorf("the server answered: %s (code %d)", m.Message, m.Code)
		}
	}
}

func (airlay) take(s *session, message []byte) error {
	var m airlayMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return unexpected(message)
	}
	switch {
	case m.Status != 0 || m.Word != "":
		s.notice(message)
	case m.Type == "cursor":
		s.move(m.ID, s.attached...) // of what is not attached yet it says nothing
	default:
		topic := m.Type + "/" + m.ID
		if s.cursor(topic) == "" { // a notification for the user, whatever its id
			topic = m.Type
		}
		s.receive(topic, Event{Type: m.Type, Key: m.ID, Payload: m.Data, Cursor: m.Cursor, carries: hasType | hasKey | wrapsPayload})
	}
	return nil
}

// drp: all filters are registered, and then resumed together.
type drp struct{}

type drpMessage struct {
	Time                         time.Time
	Type, Action, Key, Principal string
	Object, Original             json.RawMessage
	Cursor                       *string
}

func (drp) dial(ctx context.Context, s *session) error { return s.dialWebSocket(ctx, "/api/v3/ws") }

func (d drp) begin(ctx context.Context, s *session) (v Verdict, err error) {
	filters := append([]string{s.fenceFilter()}, s.Topics...)
	for _, filter := range filters {
		if _, err := d.command(ctx, s, "register "+filter); err != nil {
			return v, err
		}
	}
	if s.WithoutCursors {
		return v, nil
	}
	answer, err := d.command(ctx, s, "resume "+s.cursor(""))
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(answer.Object, &v); err != nil || v.Word == "" {
		return v, fmt.Errorf("the server answered the cursor by %s", answer.Object)
	}
	s.move(answer.Key)
	return v, nil
}

// command waits for the answer. Events that come before have no cursors: a client that
// will have cursors gets them again with one.
func (d drp) command(ctx context.Context, s *session, text string) (m drpMessage, err error) {
	if err := s.send(ctx, "%s", text); err != nil {
		return m, err
	}
	for {
		message, err := s.next(ctx)
		if err != nil {
			return m, err
		}
		m = drpMessage{}
		if err := json.Unmarshal(message, &m); err != nil {
			return m, unexpected(message)
		}
		if m.Type == "websocket" {
			return m, nil
		}
		if err := d.take(s, message); err != nil {
			return m, err
		}
	}
}

func (drp) take(s *session, message []byte) error {
	var m drpMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return unexpected(message)
	}
	switch {
	case m.Type != "websocket" && m.Cursor == nil && !s.WithoutCursors:
	case m.Type != "websocket":
		var cursor string
		if m.Cursor != nil {
			cursor = *m.Cursor
		}
		s.receive("", Event{
			Type: m.Type, Action: m.Action, Key: m.Key, Principal: m.Principal, CreatedAt: m.Time,
			Payload: m.Object, Original: m.Original, Cursor: cursor,
			carries: hasType | hasAction | hasKey | hasPrincipal | hasOriginal,
		})
	case m.Type == "websocket" && m.Action == "cursor":
		s.move(m.Key)
	default:
		s.notice(message)
	}
	return nil
}

// sysadm: all types in one command. The token was shown with the handshake.
type sysadm struct{}

type sysadmMessage struct {
	Args                    json.RawMessage
	Cursor, Name, Namespace string
}

func (sysadm) dial(ctx context.Context, s *session) error { return s.dialWebSocket(ctx, "/sysadm") }

func (d sysadm) begin(ctx context.Context, s *session) (v Verdict, err error) {
	types, err := json.Marshal(append([]string{s.fenceType()}, s.Topics...))
	if err != nil {
		return v, err
	}
	if err := s.send(ctx, `{"namespace":"events","name":"subscribe","id":"1","args":%s%s}`, types, s.cursorMember("")); err != nil {
		return v, err
	}
	for {
		message, err := s.next(ctx)
		if err != nil {
			return v, err
		}
		var m sysadmMessage
		if err := json.Unmarshal(message, &m); err != nil {
			return v, unexpected(message)
		}
		switch {
		case m.Namespace == "error":
			return v, fmt.Errorf("the server answered: %s", m.Args)
		case m.Name == "response":
			var told struct {
				Verdict
				Cursor string
			}
			if json.Unmarshal(m.Args, &told) != nil || told.Word == "" && !s.WithoutCursors {
				return v, unexpected(message)
			}
			s.move(told.Cursor)
			return told.Verdict, nil
		}
		if err := d.take(s, message); err != nil { // the newest event of a type
			return v, err
		}
	}
}

func (sysadm) take(s *session, message []byte) error {
	var m sysadmMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return unexpected(message)
	}
	switch {
	case m.Namespace != "events" || m.Name == "cursor" && string(m.Args) != "{}":
		s.notice(message)
	case m.Name == "cursor":
		s.move(m.Cursor)
	default:
		s.receive("", Event{Type: m.Name, Payload: m.Args, Cursor: m.Cursor, carries: hasType})
	}
	return nil
}

// text is a string as JSON.
func text(s string) string {
	encoded, _ := json.Marshal(s) // of a string it can't fail
	return string(encoded)
}
