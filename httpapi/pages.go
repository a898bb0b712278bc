package httpapi

import (
	"net/http"

	"example.com/notifier/httpapi/console"
	"github.com/go-chi/chi/v5"
)

// pages adds what browsers are given. At the root, where sysadm's clients connect
// to, the page is for all other requests.
func (s *Server) pages(r chi.Router, events codec) {
	module := s.module
	if !s.config.Anonymous { // there, foreign pages are kept out
		module = anyPage(module)
	}
	r.Handle(console.ModulePath, module)
	for path, file := range s.page {
		if path != "/" {
			r.Handle(path, file)
		}
	}
	upgrade, page := s.upgrade(events), s.page["/"]
	r.With(s.door).HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case asksForWebSocket(r):
			upgrade(w, r)
		case page == nil:
			w.WriteHeader(http.StatusNotFound)
		default:
			page.ServeHTTP(w, r)
		}
	})
}
