package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"example.com/notifier/httpapi/auth"
)

// knowsDRPCaller finds out who sends a request. All else comes after, so it
// also answers for a WebSocket; its refusals have no body, as the real server's.
func (s *Server) knowsDRPCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.drpCaller(r)
		s.refusals.noteError(err)
		switch {
		case err == nil:
			who.admitted = true
			next.ServeHTTP(w, withCaller(r, who))
		case errors.Is(err, errNoToken):
			w.Header().Set("WWW-Authenticate", "dr-provision")
			w.WriteHeader(http.StatusUnauthorized)
		default:
			refuseDRPCaller(w, r, err)
		}
	})
}

// refuseDRPCaller answers a request whose credential is not taken.
func refuseDRPCaller(w http.ResponseWriter, r *http.Request, err error) {
	throttled, ok := errors.AsType[*auth.ThrottledError](err)
	switch {
	case ok:
		seconds := int64((throttled.RetryAfter + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		refuseDRP(w, r, &refusal{http.StatusTooManyRequests, throttled.Error()})
	case errors.Is(err, errUnavailable):
		refuseDRP(w, r, &refusal{http.StatusServiceUnavailable, err.Error()})
	case errors.Is(err, errPlainPassword):
		refuseDRP(w, r, &refusal{http.StatusForbidden, err.Error()})
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

// drpCaller returns whose credential a request shows. DRP's clients put it into
// the header, or into the query under either name, there also as user:password.
func (s *Server) drpCaller(r *http.Request) (caller, error) {
	credential, err := auth.FromRequest(r, tokenParameter, "Token")
	switch {
	case errors.Is(err, auth.ErrMissing):
		return s.stranger()
	case err != nil:
		return caller{}, errNoToken
	}
	if r.Header.Get("Authorization") == "" {
		credential = credential.SplitPassword()
	}
	switch {
	case credential.ByPassword && s.config.Anonymous:
		return s.whoever(credential.User)
	case credential.ByPassword:
		return s.logIn(r.Context(), credential.User, credential.Password, peerOf(r))
	default:
		return s.verify(r.Context(), credential.Token)
	}
}

// mustExist lets only users through whom the policy knows.
func (s *Server) mustExist(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := callerIn(r.Context())
		_, err := s.admit(r.Context(), who, nil)
		s.refusals.noteError(err)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.Is(err, errNoUser):
			w.WriteHeader(http.StatusForbidden)
		default:
			refuseDRP(w, r, &refusal{http.StatusServiceUnavailable, err.Error()})
		}
	})
}
