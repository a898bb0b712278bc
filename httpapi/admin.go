package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
	"github.com/go-chi/chi/v5"
)

const (
	// defaultClients and maxClients are how many an instance lists of its clients.
	defaultClients = 1000
	maxClients     = 10_000
	// maxAdmin bounds the questions of operators that are being answered at once,
	// and, for themselves, those that are about this instance alone: an answer may be
	// of tens of megabytes.
	maxAdmin = 4
	// adminPatience is how long one more waits for its turn.
	adminPatience = 5 * time.Second
)

// OperatorHandler answers whoever asks, about all instances: it is for an address
// that only operators, and other instances, can reach. What else there is at that
// address is up to rest; nil: nothing. As nobody is asked who they are, foreign web
// pages are kept out of all of it.
func (s *Server) OperatorHandler(rest http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(s.operators.protect)
	if rest == nil {
		rest = bare(http.StatusNotFound)
	}
	r.NotFound(rest.ServeHTTP)
	r.MethodNotAllowed(wrongMethod(r))
	r.Route("/admin", s.adminRoutes)
	return r
}

// adminRoutes is what operators can ask for; who asks was looked at before.
func (s *Server) adminRoutes(r chi.Router) {
	r.Use(s.oneByOne)
	readable(r, "/clients", s.adminPage(s.reportClients))
	readable(r, "/stats", s.adminPage(s.reportStats))
	readable(r, "/doctor", s.adminPage(s.reportFindings))
	readable(r, "/explain", s.adminPage(s.reportExplanation))
}

// oneByOne lets only some be answered at once. What other instances ask does not
// wait for what we ask them: else two could wait for each other, and each would say
// that the other does not answer.
func (s *Server) oneByOne(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), adminPatience)
		defer cancel()
		turns := s.answering
		if all, err := everybody(r); err == nil && !all {
			turns = s.answeringHere
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			refuseJSON(w, http.StatusServiceUnavailable, "too many ask at once: try again")
			return
		}
		defer func() { <-turns }()
		next.ServeHTTP(w, r)
	})
}

// adminPage sends a report as JSON. An error that is a [refusal] is told.
func (s *Server) adminPage(report func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		told, err := report(r)
		if err != nil {
			why := s.adminRefusal(r.Context(), err)
			refuseJSON(w, why.status, why.text)
			return
		}
		body, err := json.Marshal(told)
		if err != nil {
			s.config.Logger.Error("report could not be encoded", "error", err)
			refuseJSON(w, http.StatusInternalServerError, "internal error")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		answerJSON(w, http.StatusOK, body)
	}
}

// refuseJSON answers with a JSON object that says why.
func refuseJSON(w http.ResponseWriter, status int, why string) {
	comeAgainLater(w, status)
	w.Header().Set("Cache-Control", "no-store")
	body := append(appendString([]byte(`{"error":`), why), '}')
	answerJSON(w, status, body)
}

// everybody reports whether a question goes to all instances, or to this one alone.
func everybody(r *http.Request) (bool, error) {
	switch scope := r.URL.Query().Get("scope"); scope {
	case "", "all":
		return true, nil
	case "here":
		return false, nil
	default:
		return false, &refusal{http.StatusBadRequest, fmt.Sprintf("scope %q is neither all nor here", scope)}
	}
}

// gather returns what this instance tells, and, if they are asked for, what all
// others do, the oldest first.
func gather[T any](s *Server, r *http.Request, here T, head func(*T) *instances.Head) (report instances.Report[T], err error) {
	self := s.config.Operation.Self
	self.SeenAt = time.Now()
	*head(&here) = instances.HeadOf(self)
	head(&here).Self = true
	all := []T{here}
	everybody, err := everybody(r)
	if err != nil {
		return report, err
	}
	if everybody {
		others, err := s.otherInstances(r.Context())
		if err != nil {
			return report, err
		}
		all = append(all, instances.Ask(r.Context(), s.asker, others, r.URL.Path, r.URL.Query(), head)...)
	}
	slices.SortStableFunc(all, func(a, b T) int { return head(&a).StartedAt.Compare(head(&b).StartedAt) })
	return instances.Report[T]{Instances: all}, nil
}

func (s *Server) otherInstances(ctx context.Context) ([]notifier.Instance, error) {
	if s.config.Operation.Instances == nil {
		return nil, nil
	}
	all, err := s.config.Operation.Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	return slices.DeleteFunc(all, func(i notifier.Instance) bool { return i.ID == s.config.Operation.Self.ID }), nil
}

// adminRefusal returns what an operator is told of what went wrong.
func (s *Server) adminRefusal(ctx context.Context, err error) *refusal {
	if told, ok := err.(*refusal); ok { //nolint:errorlint // ours are not wrapped
		return told
	}
	if ctx.Err() == nil {
		s.config.Logger.Error("question of an operator could not be answered", "error", err)
	}
	return &refusal{http.StatusServiceUnavailable, "the database did not answer: see the log"}
}

func (s *Server) reportClients(r *http.Request) (any, error) {
	query := r.URL.Query()
	limit := defaultClients
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, &refusal{http.StatusBadRequest, "limit is not a count"}
		}
		limit = min(n, maxClients)
	}
	total, clients := s.clients(query.Get("user"), limit)
	here := instances.ClientsOf{Connections: total, Clients: clients}
	return gather(s, r, here, func(c *instances.ClientsOf) *instances.Head {
		if c.Clients == nil {
			c.Clients = []instances.Client{} // a list, also of who did not answer
		}
		return &c.Head
	})
}

func (s *Server) reportStats(r *http.Request) (any, error) {
	return gather(s, r, s.statsReport(), func(st *instances.StatsOf) *instances.Head {
		if st.Connections == nil {
			st.Connections = map[string]int64{}
		}
		return &st.Head
	})
}

func (s *Server) statsReport() instances.StatsOf {
	now, hub := s.Stats(), s.config.Hub.Stats()
	report := instances.StatsOf{
		At:              time.Now(),
		UptimeSeconds:   int64(s.uptime().Seconds()),
		Connections:     make(map[string]int64, len(now.Protocols)),
		Subscriptions:   hub.Subscriptions,
		EventsDelivered: hub.Deliveries + hub.CaughtUp,
		OutboxEvents:    now.WaitingEvents,
		OutboxBytes:     now.WaitingBytes,
		Behind:          hub.Readers,
	}
	for name, p := range now.Protocols {
		report.Connections[name] = p.Open
	}
	for _, n := range now.Refused {
		report.Refused += n
	}
	if read := s.config.Operation.EventsRead; read != nil {
		report.EventsRead = read()
	}
	if latencies := s.config.Operation.Latencies; latencies != nil {
		report.Latency = latencies()
	}
	return report
}

// reportFindings examines what this instance works with.
func (s *Server) reportFindings(r *http.Request) (any, error) {
	found := []notifier.Finding{}
	if examine := s.config.Operation.Doctor; examine != nil {
		found = examine(r.Context())
	}
	return struct {
		Findings []notifier.Finding `json:"findings"`
	}{found}, nil
}
