package seamtest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// verdict is what all dialects say of a cursor.
type verdict struct {
	Verdict  string
	Replayed int
	Cursor   string
}

func (v verdict) check() error {
	switch v.Verdict {
	case "resumed", "replayed":
		return nil
	}
	return fmt.Errorf("%w: %q", errGap, v.Verdict)
}

// Ernius is one subscription, to what is for a user.
type Ernius struct{}

func (Ernius) path() string { return "/subscribe_to_events" }

func (Ernius) resume(s *session) error {
	if err := s.send(`{"access_id":%q,"cursor":%q}`, s.User, s.cursor("")); err != nil {
		return err
	}
	message, err := s.next()
	if err != nil {
		return err
	}
	var v verdict
	if err := json.Unmarshal(message, &v); err != nil {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	s.move(v.Cursor)
	return v.check()
}

func (Ernius) read(s *session, message []byte) error {
	if message[0] == '{' {
		var alone verdict
		if err := json.Unmarshal(message, &alone); err != nil || alone.Verdict != "" {
			return fmt.Errorf("%w: %s", errGap, message)
		}
		s.move(alone.Cursor)
		return nil
	}
	var events []struct {
		Payload json.RawMessage
		Cursor  string
	}
	if err := json.Unmarshal(message, &events); err != nil {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	for _, e := range events {
		s.receive("", e.Payload, e.Cursor)
	}
	return nil
}

// Airlay has a subscription, and a cursor, for each object.
type Airlay struct{}

func (Airlay) path() string { return "/ws" }

type airlayMessage struct {
	Status int
	Type   string
	ID     string
	Data   []json.RawMessage
	verdict
}

func (a Airlay) resume(s *session) error {
	for _, topic := range s.Topics {
		eventType, key, _ := strings.Cut(topic, " ")
		if err := s.send(`{"action":"attach","event":{"type":%q,"id":%q},"cursor":%q}`, eventType, key, s.cursor(topic)); err != nil {
			return err
		}
		for answered := false; !answered; {
			message, err := s.next()
			if err != nil {
				return err
			}
			var m airlayMessage
			if err := json.Unmarshal(message, &m); err != nil || m.Status == 400 {
				return fmt.Errorf("%w: %s", errGap, message)
			}
			if answered = m.Status == 200; !answered {
				if err := a.take(s, m); err != nil {
					return err
				}
				continue
			}
			s.move(m.Cursor, topic)
			s.attached = append(s.attached, topic)
			if err := m.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a Airlay) read(s *session, message []byte) error {
	var m airlayMessage
	if err := json.Unmarshal(message, &m); err != nil || m.Verdict != "" {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	return a.take(s, m)
}

func (Airlay) take(s *session, m airlayMessage) error {
	if m.Type == "" || m.Type == "cursor" && len(s.attached) == 0 {
		return nil // what is said of a subscription that has ended
	}
	if m.Type == "cursor" {
		s.move(m.ID, s.attached...) // of what is not attached yet it says nothing
		return nil
	}
	s.receive(m.Type+" "+m.ID, m.Data[0], m.Cursor)
	return nil
}

// DRP registers all filters, and then resumes them together.
type DRP struct{}

func (DRP) path() string { return "/api/v3/ws" }

type drpMessage struct {
	Type, Action, Key string
	Object            json.RawMessage
	Cursor            *string
}

func (d DRP) resume(s *session) error {
	commands := []string{"resume " + s.cursor("")}
	for _, topic := range s.Topics {
		commands = append([]string{"register " + topic}, commands...)
	}
	for _, command := range commands {
		if err := s.send("%s", command); err != nil {
			return err
		}
		for answered := false; !answered; {
			message, err := s.next()
			if err != nil {
				return err
			}
			var m drpMessage
			if err := json.Unmarshal(message, &m); err != nil {
				return fmt.Errorf("%w: %s", errGap, message)
			}
			if m.Cursor != nil {
				return fmt.Errorf("%w: an event with a cursor before the answer: %s", errGap, message)
			}
			if answered = m.Type == "websocket"; answered && m.Action == "resume" {
				var v verdict
				if err := json.Unmarshal(m.Object, &v); err != nil {
					return fmt.Errorf("%w: %s", errGap, message)
				}
				s.move(m.Key)
				if err := v.check(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (DRP) read(s *session, message []byte) error {
	var m drpMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	switch {
	case m.Type == "websocket" && string(m.Object) != "null":
		return fmt.Errorf("%w: %s", errGap, message)
	case m.Type == "websocket":
		s.move(m.Key)
	case m.Cursor != nil: // others came before the answer, and come again
		s.receive("", m.Object, *m.Cursor)
	}
	return nil
}

// Sysadm names all types in one command.
type Sysadm struct{}

func (Sysadm) path() string { return "/" }

type sysadmMessage struct {
	Args                json.RawMessage
	Cursor              string
	ID, Name, Namespace string
}

func (Sysadm) resume(s *session) error {
	types, _ := json.Marshal(s.Topics)
	if err := s.send(`{"namespace":"events","name":"subscribe","id":"1","args":%s,"cursor":%q}`, types, s.cursor("")); err != nil {
		return err
	}
	message, err := s.next()
	if err != nil {
		return err
	}
	var m sysadmMessage
	var v verdict
	if json.Unmarshal(message, &m) != nil || json.Unmarshal(m.Args, &v) != nil || m.Name != "response" {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	s.move(v.Cursor)
	return v.check()
}

func (Sysadm) read(s *session, message []byte) error {
	var m sysadmMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return fmt.Errorf("%w: %s", errGap, message)
	}
	if m.Name == "cursor" {
		if string(m.Args) != "{}" {
			return fmt.Errorf("%w: %s", errGap, message)
		}
		s.move(m.Cursor)
		return nil
	}
	s.receive("", m.Args, m.Cursor)
	return nil
}
