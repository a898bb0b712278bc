package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/httpapi/auth"
	"github.com/go-chi/chi/v5"
)

const (
	// drpTTL is how long a token is valid if the client does not say.
	drpTTL = time.Hour
	// maxDRPTTL bounds it; a longer one is cut. What really ends a token is a
	// new password.
	maxDRPTTL = 10 * 365 * 24 * time.Hour
)

// drpToken gives who has logged in a token, in place of the password or of an
// older token. Sockets that rest on an older one go on: see conn.prolong.
func (s *Server) drpToken(w http.ResponseWriter, r *http.Request) {
	who, _ := callerIn(r.Context())
	token, err := s.newDRPToken(r, who)
	if err != nil {
		refuseDRP(w, r, s.refusalTo(err))
		return
	}
	body, err := json.Marshal(struct {
		Token string
		Info  struct{} // of the server: clients need nothing of it
	}{Token: token})
	if err != nil {
		refuseDRP(w, r, s.refusalTo(err))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answerJSON(w, http.StatusOK, body)
}

func (s *Server) newDRPToken(r *http.Request, who caller) (string, error) {
	name, err := chi.URLParam(r, "name"), error(nil)
	if r.URL.RawPath != "" { // then the name is as it came: escaped, it may hold what parts a path
		name, err = url.PathUnescape(name)
	}
	if err != nil || name != who.User { // nobody learns who else there is
		return "", &refusal{http.StatusNotFound, "no such user, or not the one who asks"}
	}
	ttl, err := parseDRPTTL(r.URL.Query())
	if err == nil {
		err = checkDRPRoles(r.URL.Query(), who.Roles)
	}
	if err != nil {
		return "", &refusal{http.StatusBadRequest, err.Error()}
	}
	token, expires, err := s.openSession(who, ttl)
	switch {
	case errors.Is(err, errNoAccount):
		return "", &refusal{http.StatusForbidden, err.Error()}
	case err != nil:
		s.config.Logger.Error("session could not be opened", "user", who.User, "error", err)
		return "", &refusal{http.StatusServiceUnavailable, errUnavailable.Error()}
	case who.account == nil: // nobody in particular
		return token, nil
	}
	if err := s.config.Store.ExtendSession(r.Context(), *who.account, expires); err != nil {
		return "", s.storeRefusal(r.Context(), "extend session", err)
	}
	return token, nil
}

// parseDRPTTL reads how many seconds a token is to be valid.
func parseDRPTTL(query url.Values) (time.Duration, error) {
	if !query.Has("ttl") {
		return drpTTL, nil
	}
	seconds, err := strconv.ParseInt(query.Get("ttl"), 10, 64)
	if err != nil || seconds < 1 {
		return 0, errors.New("ttl is not a number of seconds")
	}
	return time.Duration(min(seconds, int64(maxDRPTTL/time.Second))) * time.Second, nil
}

// checkDRPRoles refuses a wish for roles other than all that the user has: a
// token carries the user's, whatever they are when it is shown.
func checkDRPRoles(query url.Values, has auth.Roles) error {
	var wanted []auth.Role
	for name := range strings.SplitSeq(query.Get("roles"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		role, err := auth.ParseRole(name)
		if err != nil {
			return err
		}
		wanted = append(wanted, role)
	}
	if len(wanted) > 0 && auth.RolesOf(wanted...) != has {
		return fmt.Errorf("roles: a token has all of its user's, which are %q", has)
	}
	return nil
}
