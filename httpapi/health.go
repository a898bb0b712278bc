package httpapi

import "net/http"

// livez says that the process answers, and nothing more: a server that waits
// for its database must not be restarted for it.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") }

// readyz says whether clients should be sent here.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.connections.isDraining() {
		answer(w, http.StatusServiceUnavailable, "shutting down\n")
		return
	}
	if err := s.config.Ready(); err != nil {
		s.config.Logger.Debug("not ready", "reason", err)
		answer(w, http.StatusServiceUnavailable, "not ready\n") // the reason may name hosts
		return
	}
	answer(w, http.StatusOK, "ok\n")
}
