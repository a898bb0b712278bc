package httpapi

import "net/http"

// anonymous is who a client is that does not say, when that is allowed.
const anonymous = "anonymous"

// Who a client is, is decided in this file and nowhere else.

// requester returns the user who makes an HTTP request.
func (s *Server) requester(*http.Request) string { return anonymous }

// subscriberUser returns the user for whom a connection receives, given the one
// that the client claims to be: in anonymous mode, whoever it says.
func (s *Server) subscriberUser(claimed string) string { return claimed }
