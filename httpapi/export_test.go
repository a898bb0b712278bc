package httpapi

import (
	"context"
	"net/http"
	"time"
)

// What logging in fails with.
var (
	ErrBadLogin      = errBadLogin
	ErrPlainPassword = errPlainPassword
	ErrUnavailable   = errUnavailable
	ErrNoAccount     = errNoAccount
)

// Sockets is how many there are that are no WebSocket's and carry no stream.
func (s *Server) Sockets() int64 { return s.busy.sockets.Load() }

// NormalOrigin is the form in which origins are compared.
func NormalOrigin(origin string) (string, bool) {
	normal, _, ok := parseOrigin(origin)
	return normal, ok
}

// LogIn has a client log in that sends this request, and opens a session.
func (s *Server) LogIn(r *http.Request, user, password string, ttl time.Duration) (token string, expires time.Time, err error) {
	who, err := s.logIn(r.Context(), user, password, peerOf(r))
	if err != nil {
		return "", expires, err
	}
	return s.openSession(who, ttl)
}

// Reopen opens a session for who shows a token, "" for none.
func (s *Server) Reopen(ctx context.Context, token string, ttl time.Duration) (string, time.Time, error) {
	who, err := s.stranger()
	if token != "" {
		who, err = s.verify(ctx, token)
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return s.openSession(who, ttl)
}

// TakingPasswords is the server behind a middleware such as a protocol has whose
// clients send a password with each request.
func (s *Server) TakingPasswords() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); ok {
			who, err := s.logIn(r.Context(), user, password, peerOf(r))
			if err != nil {
				s.unauthorized(w, err, refuse)
				return
			}
			r = withCaller(r, who)
		}
		s.handler.ServeHTTP(w, r)
	})
}
