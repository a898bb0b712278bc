package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// maxIdempotencyKey bounds a key in bytes: it is kept in an index.
const maxIdempotencyKey = 255

// success is the body of an answer that all is done.
const success = "true"

// pushEvents stores a list of events, all or none, and answers when they are
// stored.
func (s *Server) pushEvents(w http.ResponseWriter, r *http.Request) {
	key, err := idempotencyKey(r.Header.Values("Idempotency-Key"))
	if err != nil {
		s.decline(w, err)
		return
	}
	body, err := s.takeBody(w, r)
	if err != nil {
		s.decline(w, err)
		return
	}
	defer body.release()
	list, err := readJSON(body)
	if err != nil {
		s.decline(w, err)
		return
	}
	publication, err := parsePush(list, s.config.MaxList)
	if err == nil {
		err = s.checkPayloads(publication.Events)
	}
	if err != nil {
		s.decline(w, err)
		return
	}
	publication.Principal, publication.IdempotencyKey = requester(r), key
	if len(publication.Events) > 0 {
		if err := s.config.Store.Publish(r.Context(), publication); err != nil {
			s.declineStore(r.Context(), w, "publish", err)
			return
		}
	}
	answer(w, http.StatusOK, success)
}

// checkPayloads refuses what would reach its subscribers as null.
func (s *Server) checkPayloads(events []notifier.Event) error {
	for i := range events {
		if size := max(len(events[i].Payload), len(events[i].Original)); size > s.config.MaxPayload {
			return &refusal{http.StatusRequestEntityTooLarge,
				fmt.Sprintf("the payload of event %d has %d bytes, the most is %d", i, size, s.config.MaxPayload)}
		}
	}
	return nil
}

func idempotencyKey(headers []string) (string, error) {
	switch {
	case len(headers) == 0:
		return "", nil
	case len(headers) > 1:
		return "", badRequest("Idempotency-Key: more than one")
	}
	if err := checkIdempotencyKey(headers[0]); err != nil {
		return "", badRequest("Idempotency-Key: %w", err)
	}
	return headers[0], nil
}

func checkIdempotencyKey(key string) error {
	switch {
	case key == "":
		return errors.New("empty")
	case len(key) > maxIdempotencyKey:
		return fmt.Errorf("longer than %d bytes", maxIdempotencyKey)
	case !utf8.ValidString(key) || strings.Contains(key, "\x00"):
		return errors.New("not a text")
	}
	return nil
}
