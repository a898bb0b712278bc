package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"example.com/notifier/notifier"
	"github.com/go-chi/chi/v5"
)

// sseRoutes is where streams begin.
func (s *Server) sseRoutes(r chi.Router) {
	if !s.config.Anonymous { // there, foreign pages are kept out
		r.Use(anyPage)
	}
	readable(r, "/", s.serveStream(s.counters.protocol("sse")))
}

// serveStream answers a request for events: with a status that is final, with the
// advice to come again, or with a stream that lasts.
func (s *Server) serveStream(traffic *protocolCounters) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			s.describeStream(w, r)
			return
		}
		taken, refused := s.takePlace(r)
		if refused != "" {
			s.turnStreamAway(w, r, refused)
			return
		}
		defer s.connections.release(taken)
		st, begin, err := s.openStream(w, r, taken)
		if st != nil {
			defer st.part()
		}
		if err != nil {
			s.refuseStream(w, r, err)
			return
		}
		defer s.lasts(r)()
		traffic.began()
		limitSendBuffer(r, s.config.SendBuffer)
		sseHeader(w, r)
		begin()
		st.run()
		s.counters.end(traffic, st.ending)
		s.config.Logger.Debug("connection ended", "reason", st.ending, "remote", r.RemoteAddr)
	}
}

// describeStream answers for a stream by its head alone: also whether its topics may
// be followed.
func (s *Server) describeStream(w http.ResponseWriter, r *http.Request) {
	if !s.busy.enter(&s.busy.requests) {
		s.refuseStream(w, r, errTooManyRequests)
		return
	}
	defer s.busy.requests.Add(-1)
	who, _, ask, err := s.admitStream(r)
	if err == nil {
		_, err = s.permits(r.Context(), who, ask.topics)
	}
	if err != nil {
		s.refuseStream(w, r, err)
		return
	}
	sseHeader(w, r)
}

// admitStream finds out who asks for what, and for which user.
func (s *Server) admitStream(r *http.Request) (who caller, user string, ask sseRequest, err error) {
	if who, err = s.authenticate(r); err != nil {
		return who, "", ask, err
	}
	if ask, err = s.parseSSE(r); err != nil {
		return who, "", ask, &refusal{http.StatusBadRequest, err.Error()}
	}
	if user, err = who.actingFor(ask.user); err == nil && ask.weigh(user) > s.config.MaxSubscriptions {
		err = errTooMuch
	}
	return who, user, ask, err
}

// openStream returns a stream that has subscribed, and what has it begin. To open
// one is a request like any other; what is open is not bounded by those.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request, taken *place) (st *stream, begin func(), err error) {
	if !s.busy.enter(&s.busy.requests) {
		return nil, nil, errTooManyRequests
	}
	defer s.busy.requests.Add(-1)
	who, user, ask, err := s.admitStream(r)
	switch {
	case err != nil:
		return nil, nil, err
	case !s.connections.belong(taken, who.countsAs(user)):
		return nil, nil, errCrowded
	}
	st = s.newStream(w, who, user)
	st.remote = r.RemoteAddr
	if !s.connections.add(st, s.uptime()) {
		return st, nil, errDraining
	}
	st.until(r.Context(), who.Expires)
	_ = st.wire.SetReadDeadline(time.Time{}) // that of the request; the client has nothing more to say
	begin, err = st.open(ask)
	if reason, ending := st.isEnding(); ending && reason == notifier.EndedByShutdown {
		err = errDraining
	}
	return st, begin, err
}

// What opening a stream can fail with, besides what others do.
var (
	errDraining        = errors.New("shutting down")
	errTooManyRequests = errors.New("too many requests")
)

// refuseStream tells a client why it gets no stream.
func (s *Server) refuseStream(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errDraining):
		s.turnStreamAway(w, r, RefusedDraining)
		return
	case errors.Is(err, errTooManyRequests):
		s.turnStreamAway(w, r, RefusedRequests)
		return
	case errors.Is(err, errCrowded):
		s.turnStreamAway(w, r, RefusedPerUser)
		return
	case errors.Is(err, errNoToken), errors.Is(err, errBadToken):
		s.unauthorized(w, err, refuse)
		return
	}
	if told, ok := errors.AsType[*refusal](err); ok {
		refuse(w, told.status, told.text)
		return
	}
	switch {
	case errors.Is(err, errNoUser), errors.Is(err, errNotYou), errors.Is(err, errNoAccess):
		s.refusals.noteError(err)
		refuse(w, http.StatusForbidden, err.Error())
	case errors.Is(err, errTooMuch):
		s.refusals.noteError(err)
		refuse(w, http.StatusBadRequest, err.Error())
	default: // also who was dropped in this moment
		s.turnStreamAway(w, r, RefusedOutage)
	}
}

// open subscribes, and returns what has the stream begin.
func (st *stream) open(ask sseRequest) (begin func(), err error) {
	hub := st.server.config.Hub
	st.setSubscriber(notifier.NewSubscriber(st.viewer.User, st.encoder, st))
	hub.Join(st.subscriber)
	ctx := st.whileOpen()
	if err := st.await(ctx, &ask.from); err != nil {
		return nil, err
	}
	filters := ask.filters(st.viewer.User)
	behind := ask.replay || ask.from.from != nil
	subs, here, err := st.subscribe(ctx, ask, filters, behind)
	if err != nil {
		return nil, err
	}
	var v verdict
	var first owed
	if ask.replay {
		v = verdict{word: verdictResumed} // its cursor comes behind the replay
		first = st.replaySince(subs[0], st.readable(filters), here)
	} else if v, first, err = st.findMissed(&ask.from, subs, here); err != nil {
		return nil, err
	}
	return func() {
		st.queue.Reply(append([]byte(sseBeginning(st.server.config.PingInterval)), sseVerdict(v)...))
		st.wantCursors()
		st.stir()
		if behind {
			st.pursue(first)
		}
	}, nil
}

// subscribe joins the hub with all topics, from one point on, if the policy allows
// each. If access changes meanwhile, it is asked again.
func (st *stream) subscribe(ctx context.Context, ask sseRequest, filters []notifier.Filter, behind bool) (subs []*notifier.Subscription, here notifier.Cursor, err error) {
	for range maxPermitTries {
		permits, err := st.server.permits(ctx, st.caller, ask.topics)
		if err != nil {
			return nil, here, err
		}
		subs, here, err = st.record(ask.topics, permits, filters, behind)
		if !errors.Is(err, notifier.ErrStalePermit) {
			return subs, here, err
		}
	}
	return nil, here, errUnavailable
}

// record subscribes and notes which is which, so that the hub, which may end one in
// this moment, finds it noted.
func (st *stream) record(topics []sseTopic, permits []notifier.Permit, filters []notifier.Filter, behind bool) ([]*notifier.Subscription, notifier.Cursor, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	subs, here, err := st.server.config.Hub.SubscribeEach(st.subscriber, st.viewer, permits, behind, filters...)
	if err != nil {
		return nil, here, err
	}
	st.topics = make(map[*notifier.Subscription]string, len(subs))
	for i, sub := range subs {
		st.topics[sub] = topics[i].text
	}
	return subs, here, nil
}

// permits asks the policy: about the object of each topic that is about one, and
// once for all others, of which each event's dataset decides.
func (s *Server) permits(ctx context.Context, who caller, topics []sseTopic) ([]notifier.Permit, error) {
	permits := make([]notifier.Permit, len(topics))
	var general *notifier.Permit
	for i, t := range topics {
		if t.about == nil && general != nil {
			permits[i] = *general
			continue
		}
		admission, err := s.admit(ctx, who, t.about)
		if err != nil {
			return nil, err
		}
		permits[i] = notifier.Permit{At: admission.At, Account: who.account}
		switch {
		case t.about == nil:
			general = &permits[i]
		case admission.Dataset != nil && !admission.MayRead:
			return nil, errNoAccess
		case admission.Dataset != nil:
			permits[i].Scope = &notifier.Question{User: who.User, Type: t.about.eventType, Dataset: *admission.Dataset, HasDataset: true}
		}
	}
	return permits, nil
}

// readable narrows filters down to what the viewer can be allowed to read: what is
// for others is not worth a look.
func (st *stream) readable(filters []notifier.Filter) []notifier.Filter {
	narrow := make([]notifier.Filter, len(filters))
	for i, f := range filters {
		narrow[i] = f
		if !st.viewer.Admin && f.Recipient == nil {
			narrow[i].Recipient, narrow[i].OrNobody = &st.viewer.User, true
		}
	}
	return narrow
}

// socketKey is where a request's context keeps the socket it came by.
type socketKey struct{}

// servedSocket is a socket that net/http serves.
type servedSocket struct {
	net.Conn
	mu      sync.Mutex
	streams int
}

// keepSocket is for [http.Server.ConnContext].
func keepSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, &servedSocket{Conn: c})
}

// lasts has the socket of a request not count as one that waits for requests, for as
// long as there is a stream on it: those have limits of their own.
func (s *Server) lasts(r *http.Request) (ended func()) {
	socket, ok := r.Context().Value(socketKey{}).(*servedSocket)
	if !ok {
		return func() {}
	}
	count := func(change int) {
		socket.mu.Lock()
		defer socket.mu.Unlock()
		before := socket.streams > 0
		socket.streams += change
		switch after := socket.streams > 0; {
		case after && !before:
			s.busy.sockets.Add(-1)
		case before && !after:
			s.busy.sockets.Add(1)
		}
	}
	count(1)
	return func() { count(-1) }
}

// limitSendBuffer bounds what a client that stops reading can hold in the kernel,
// where its connection is its own.
func limitSendBuffer(r *http.Request, size int) {
	socket, ok := r.Context().Value(socketKey{}).(*servedSocket)
	if !ok || r.ProtoMajor != 1 {
		return
	}
	if tcp, ok := plainSocket(socket.Conn).(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(size) // without it, the kernel's own limit holds
	}
}
