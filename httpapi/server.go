package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/notifier/httpapi/auth"
	"example.com/notifier/httpapi/console"
	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
	"github.com/go-chi/chi/v5"
)

// Server answers HTTP requests and keeps the WebSocket connections. Create one
// with [New] and run it once.
type Server struct {
	config      Config
	connections *connections
	logins      *auth.Logins
	sessions    *auth.Signer
	cursors     *notifier.CursorSigner
	places      places // of replays
	pushing     budget
	counters    counters
	handler     http.Handler
	module      http.Handler            // for other people's pages
	page        map[string]http.Handler // the console's files, by their path; nil: there is none
	began       time.Time
	refusals    *refusals
	commands    rate          // of one connection
	delayed     atomic.Uint64 // commands
	busy        crowdedness
	operators   *guard // of their address
	asker       *instances.Asker
	// answering and answeringHere have room for the questions of operators that may
	// be answered at once: to all instances, and to this one alone.
	answering, answeringHere chan struct{}
	// life is that of what is asked of the store for connections; giveUp ends
	// it, when a server that stops has no time left.
	life   context.Context
	giveUp context.CancelFunc
}

// New checks the configuration, all of it, and returns a server that does
// nothing before [Server.Run].
func New(c Config) (*Server, error) {
	complete, err := c.complete()
	refused := newRefusals(complete.Logger)
	guard, guardErr := newGuard(complete, refused)
	operators, _ := newOperatorsGuard(complete, refused) // what is wrong with it is wrong with the other
	sessions, keyErr := auth.NewSigner(complete.SessionKey, nil)
	module, moduleErr := console.Module()
	page, pageErr := console.Page()
	if complete.NoConsole {
		page = nil
	}
	if err := errors.Join(err, guardErr, keyErr, moduleErr, pageErr); err != nil {
		return nil, fmt.Errorf("configure the HTTP side: %w", err)
	}
	s := &Server{
		config:        complete,
		connections:   newConnections(complete),
		logins:        auth.NewLogins(auth.LoginConfig{}),
		sessions:      sessions,
		module:        module,
		page:          page,
		cursors:       notifier.NewCursorSigner(complete.SessionKey),
		places:        newPlaces(complete.MaxReplays),
		pushing:       newBudget(complete.MaxPushing),
		counters:      newCounters(),
		began:         time.Now(),
		refusals:      refused,
		commands:      commandRate(complete),
		operators:     operators,
		asker:         instances.NewAsker(),
		answering:     make(chan struct{}, maxAdmin),
		answeringHere: make(chan struct{}, maxAdmin),
	}
	s.busy.most = int64(complete.MaxRequests)
	s.life, s.giveUp = context.WithCancel(context.Background())
	s.handler = complete.Proxies.Handler(s.routes(guard))
	return s, nil
}

// Handler returns what answers requests, for tests. Pings, deadlines and the end
// of connections need [Server.Run].
func (s *Server) Handler() http.Handler { return s.handler }

// routes is the table of everything that can be asked for. A protocol on
// WebSockets is one line of its own.
func (s *Server) routes(g *guard) http.Handler {
	root := chi.NewRouter()
	if s.config.Anonymous { // with tokens any page may call: there are no cookies
		root.Use(g.protect)
	}
	root.NotFound(bare(http.StatusNotFound))
	root.MethodNotAllowed(wrongMethod(root))

	readable(root, "/livez", s.livez)
	readable(root, "/readyz", s.readyz)

	root.Route("/events", s.sseRoutes)

	r := root.With(s.bounded)
	s.protocol(r, "/subscribe_to_events", ernius{})
	s.protocol(r, "/ws", airlay{})
	events := newSysadm(s.config)
	s.protocol(r, "/sysadm", events)
	s.pages(r, events)

	r.Route("/api/v3", s.drpRoutes)

	text := r.With(acceptsText)
	text.With(s.requires(auth.Publisher, refuse), sendsJSON).Post("/push_events", s.pushEvents)
	text.With(s.requires(auth.Admin, refuse), sendsJSON).Post("/drop_user", s.dropUser)
	readable(text.With(s.requires(auth.Admin, refuse)), "/clients", s.listClients)
	r.With(s.requires(auth.Admin, refuseJSON)).Route("/admin", s.adminRoutes)
	return root
}

// protocol adds the WebSocket of a protocol, behind the door and what else is to
// stand before it. Every method leads to it, as nothing but an upgrade is of use
// there.
func (s *Server) protocol(r chi.Router, path string, c codec, before ...func(http.Handler) http.Handler) {
	r = r.With(s.door).With(before...)
	r.Handle(path, s.upgrade(c))
	r.Handle(path+"/", s.upgrade(c))
}

// readable adds a page that can be asked for, also by its head alone.
func readable(r chi.Router, path string, page http.HandlerFunc) {
	r.Get(path, page)
	r.Head(path, page)
}

// wrongMethod answers a request for a page that can only be asked for by other
// methods, and names these.
func wrongMethod(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		allow(w, routes, r.URL.Path)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// allow names the methods by which a page can be asked for.
func allow(w http.ResponseWriter, routes chi.Routes, path string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if routes.Match(chi.NewRouteContext(), method, path) {
			w.Header().Add("Allow", method)
		}
	}
}
