package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
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
		if s.config.Hub.Point().To.Xmax() == 0 {
			comeAgain(w, r, refusedStarting, "starting: try again") // nobody would know where live begins
			return
		}
		who, err := s.authenticate(r)
		if err != nil {
			s.refuseStream(w, r, err)
			return
		}
		ask, err := s.parseSSE(r)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		user, err := who.actingFor(ask.user)
		if err == nil && ask.weigh(user) > s.config.MaxSubscriptions {
			err = errTooMuch
		}
		if err == nil && r.Method == http.MethodHead {
			_, err = s.admit(r.Context(), who, nil)
		}
		if err == nil {
			err = s.stream(w, r, who, user, ask, traffic)
		}
		if err != nil {
			s.refuseStream(w, r, err)
		}
	}
}

// refuseStream tells a client why it gets no stream.
func (s *Server) refuseStream(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errDraining):
		comeAgain(w, r, refusedDraining, err.Error())
	case errors.Is(err, errFull):
		comeAgain(w, r, refusedFull, err.Error())
	case errors.Is(err, errNoToken), errors.Is(err, errBadToken):
		unauthorized(w, err)
	case errors.Is(err, errNoUser), errors.Is(err, errNotYou), errors.Is(err, errNoAccess):
		refuse(w, http.StatusForbidden, err.Error())
	case errors.Is(err, errTooMuch):
		refuse(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, notifier.ErrGone): // dropped in this moment
		comeAgain(w, r, string(notifier.EndedByDrop), closings[notifier.EndedByDrop].reason)
	default:
		comeAgain(w, r, refusedOutage, errUnavailable.Error())
	}
}

// stream opens a stream and serves it to its end. An error means that nothing was
// answered yet.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, who caller, user string, ask sseRequest, traffic *protocolCounters) error {
	if r.Method == http.MethodHead {
		sseHeader(w, r)
		return nil
	}
	if err := s.connections.reserve(); err != nil {
		return err
	}
	defer s.connections.release()
	st := s.newStream(w, who, user)
	defer st.part()
	if !s.connections.add(st) {
		return errDraining
	}
	defer st.whenGone(r.Context())()
	_ = st.wire.SetReadDeadline(time.Time{}) // that of the request; the client has nothing more to say
	first, err := st.open(ask)
	if reason, ending := st.isEnding(); ending && reason == notifier.EndedByShutdown {
		return errDraining
	}
	if err != nil {
		return err
	}
	traffic.began()
	defer func() { s.counters.end(traffic, st.ending) }()
	defer st.expireAt(who.Expires)()
	limitSendBuffer(r, s.config.SendBuffer)
	sseHeader(w, r)
	first()
	st.run()
	s.config.Logger.Debug("connection ended", "reason", st.ending, "remote", r.RemoteAddr)
	return nil
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
		st.queue.Reply(append([]byte(sseRetryLine(sseRetry)), sseVerdict(v)...))
		st.askForCursors()
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
		permits, err := st.permits(ctx, ask.topics)
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
func (st *stream) permits(ctx context.Context, topics []sseTopic) ([]notifier.Permit, error) {
	permits := make([]notifier.Permit, len(topics))
	var general *notifier.Permit
	for i, t := range topics {
		if t.about == nil && general != nil {
			permits[i] = *general
			continue
		}
		admission, err := st.server.admit(ctx, st.caller, t.about)
		if err != nil {
			return nil, err
		}
		permits[i] = notifier.Permit{At: admission.At, Account: st.caller.account}
		switch {
		case t.about == nil:
			general = &permits[i]
		case admission.Dataset != nil && !admission.MayRead:
			return nil, errNoAccess
		case admission.Dataset != nil:
			permits[i].Scope = &notifier.Question{User: st.caller.User, Type: t.about.eventType, Dataset: *admission.Dataset, HasDataset: true}
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

// socketKey is where a request's context keeps the connection it came by.
type socketKey struct{}

// keepSocket is for [http.Server.ConnContext].
func keepSocket(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, c)
}

// limitSendBuffer bounds what a client that stops reading can hold in the kernel,
// where its connection is its own.
func limitSendBuffer(r *http.Request, size int) {
	if r.ProtoMajor != 1 {
		return
	}
	if c, ok := r.Context().Value(socketKey{}).(net.Conn); ok {
		if tcp, ok := plainSocket(c).(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(size) // without it, the kernel's own limit holds
		}
	}
}
