package httpapi

import (
	"net/http"
	"slices"
	"strconv"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// reportExplanation says why a user has got an event, or has not: what the log and
// the policy tell, and how it meets the user's clients, of all instances.
func (s *Server) reportExplanation(r *http.Request) (any, error) {
	query := r.URL.Query()
	user := query.Get("user")
	id, err := strconv.ParseInt(query.Get("event"), 10, 64)
	switch {
	case user == "":
		return nil, &refusal{http.StatusBadRequest, "user is missing"}
	case err != nil || id < 1:
		return nil, &refusal{http.StatusBadRequest, "event is not the id of an event"}
	case s.config.Operation.Trace == nil:
		return nil, &refusal{http.StatusNotFound, "there is no log to look into"}
	}
	var e instances.Explanation
	if e.Trace, err = s.config.Operation.Trace(r.Context(), user, id); err != nil {
		return nil, err
	}
	report, err := gather(s, r, s.receptions(user, &e.Trace), func(o *instances.ReceptionOf) *instances.Head {
		if o.Connections == nil {
			o.Connections = []instances.Reception{}
		}
		return &o.Head
	})
	if err != nil {
		return nil, err
	}
	e.Instances = report.Instances
	e.Conclude()
	return e, nil
}

// receptions returns how an event meets the clients here.
func (s *Server) receptions(user string, t *notifier.Trace) instances.ReceptionOf {
	here := instances.ReceptionOf{Position: s.config.Hub.Point().To.String()}
	if t.Row == nil {
		return here
	}
	met, passed := s.config.Hub.Receptions(user, t.Row.Event(t.ID))
	here.Passed = passed
	bySubscriber := make(map[*notifier.Subscriber]notifier.Reception, len(met))
	for _, m := range met[:min(len(met), defaultClients)] {
		bySubscriber[m.Subscriber] = m
	}
	for i := range s.connections.slices {
		clients, subscribers := s.connections.describe(i, s.began)
		for j, c := range clients {
			if m, ok := bySubscriber[subscribers[j]]; ok {
				here.Connections = append(here.Connections, reception(c, m))
			}
		}
	}
	slices.SortFunc(here.Connections, func(a, b instances.Reception) int { return urgency(a.Client, b.Client) })
	return here
}

func reception(c instances.Client, m notifier.Reception) instances.Reception {
	tell(&c, m.Presence)
	told := instances.Reception{Client: c, Passed: m.Passed, Matches: make([]instances.Match, len(m.Subscriptions))}
	for i, s := range m.Subscriptions {
		told.Matches[i] = instances.Match{Filter: instances.FilterOf(s.Filter), Admin: s.Admin, Mismatch: s.Mismatch, Late: s.Late}
	}
	return told
}
