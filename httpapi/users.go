package httpapi

import (
	"net/http"
	"strings"
)

// maxDropBody bounds the body of drop_user: a key and an access_id, however it
// is escaped.
const maxDropBody = 16 << 10

// dropUser ends every connection of a user, on every instance.
func (s *Server) dropUser(w http.ResponseWriter, r *http.Request) {
	body, err := readJSON(http.MaxBytesReader(w, r.Body, maxDropBody))
	if err != nil {
		s.decline(w, err)
		return
	}
	user, err := parseDrop(body)
	if err != nil {
		s.decline(w, err)
		return
	}
	if err := s.config.Store.DropUser(r.Context(), user, requester(r)); err != nil {
		s.declineStore(r.Context(), w, "drop user", err)
		return
	}
	answer(w, http.StatusOK, success)
}

func parseDrop(body []byte) (user string, err error) {
	if kind := kindOf(body); kind != "an object" {
		return "", badRequest("$: expected an object, but encountered %s", kind)
	}
	var id []byte
	for key, value := range members(body) { // of a repeated key, the last counts
		if key == "drop_access_id" {
			id = value
		}
	}
	recipient, err := parseRecipient(id)
	if err != nil {
		return "", badRequest("$.drop_access_id: %w", err)
	}
	return *recipient, nil
}

// listClients names every user with a connection to this instance once, each
// followed by a blank.
func (s *Server) listClients(w http.ResponseWriter, _ *http.Request) {
	var text strings.Builder
	text.WriteString("Connected clients:")
	for _, user := range s.config.Hub.Users() {
		text.WriteString(user)
		text.WriteByte(' ')
	}
	answer(w, http.StatusOK, text.String())
}
