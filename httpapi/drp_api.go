package httpapi

import (
	"encoding/json"
	"net/http"

	"example.com/notifier/httpapi/auth"
	"github.com/go-chi/chi/v5"
)

// jsonType is the content type of every answer of DRP's, also of those without
// content: its client can't handle any other.
const jsonType = "application/json"

// drpRoutes is what DRP's clients ask for, below /api/v3.
func (s *Server) drpRoutes(r chi.Router) {
	if !s.config.Anonymous { // there, foreign pages are kept out
		r.Use(anyPage)
	}
	r.NotFound(refusesDRP(&refusal{http.StatusNotFound, "No route"}))
	r.MethodNotAllowed(wrongDRPMethod(r))

	known := r.With(s.knowsDRPCaller)
	s.protocol(r, "/ws", drp{}, s.knowsDRPCaller, s.mustExist)
	readable(known, "/info", drpInfo)
	known.Get("/users/{name}/token", s.drpToken)
	known.With(s.mustPublishDRP).Post("/events", s.postDRPEvent)
}

// anyPage lets the pages of any origin call, as the real server does: access
// rests on tokens, which a page must have, and never on cookies.
func anyPage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Cache-Control, Last-Event-ID, X-Requested-With, X-Log-Request, X-Log-Token")
		h.Set("Access-Control-Max-Age", "7200") // seconds; what browsers grant at the most
		w.WriteHeader(http.StatusNoContent)
	})
}

// drpInfo tells of the server what can be told: its clients look at what is
// there and need none of it.
func drpInfo(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, []byte(`{"id":"notifier","features":[],"scopes":{},"stats":[],"errors":[]}`))
}

func answerJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// drpError is the body of every refusal but those for want of a credential. Its
// keys are the real server's, in its order.
type drpError struct {
	Model, Key, Type string
	Messages         []string
	Code             int
}

// refuseDRP answers in the real server's form. It repeats the path alone: the
// query may hold a token.
func refuseDRP(w http.ResponseWriter, r *http.Request, why *refusal) {
	comeAgainLater(w, why.status)
	body, err := json.Marshal(drpError{Key: r.URL.Path, Type: r.Method, Messages: []string{why.text}, Code: why.status})
	if err != nil {
		body = nil // it can't fail: these are texts and a number
	}
	answerJSON(w, why.status, body)
}

func refusesDRP(why *refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { refuseDRP(w, r, why) }
}

func wrongDRPMethod(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		allow(w, routes, chi.RouteContext(r.Context()).RoutePath)
		refuseDRP(w, r, &refusal{http.StatusMethodNotAllowed, "Method not allowed"})
	}
}

// mustPublishDRP lets only publishers through.
func (s *Server) mustPublishDRP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if who, _ := callerIn(r.Context()); !who.Roles.Has(auth.Publisher) {
			s.refusals.note(RefusedNoRole)
			refuseDRP(w, r, &refusal{http.StatusForbidden, "the user lacks the role " + string(auth.Publisher)})
			return
		}
		next.ServeHTTP(w, r)
	})
}
