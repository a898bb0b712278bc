package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// sseMe is the recipient that stands for the client itself.
const sseMe = "me"

// maxTopics bounds the topics of a stream, each of which the policy may have to be
// asked about. One topic may list many values.
const maxTopics = 100

// lastSecond is the last that a time can be told of in RFC 3339.
const lastSecond = 253402300799

// sseRequest is what a client asks for.
type sseRequest struct {
	topics []sseTopic
	from   resumption
	since  time.Time // zero: any
	// replay asks for what is stored since then: without a cursor.
	replay bool
	// user is for whom it receives, "": itself.
	user string
}

// sseTopic is one of its subscriptions.
type sseTopic struct {
	text   string // as it was asked for
	filter notifier.Filter
	about  *object // the one object it is about; nil: several
}

// parseSSE reads a request. Its errors are for the client.
func (s *Server) parseSSE(r *http.Request) (ask sseRequest, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return ask, errors.New("the query is malformed")
	}
	for _, name := range []string{"recipient", "since", "cursor"} {
		if len(query[name]) > 1 {
			return ask, fmt.Errorf("%s is given more than once", name)
		}
	}
	recipient := query.Get("recipient")
	if len(query["topic"]) == 0 && recipient == "" {
		return ask, errors.New("nothing is asked for: give topic=TYPE.ACTION.KEY, or recipient=me, or both")
	}
	if recipient != sseMe {
		ask.user = recipient
	}
	if err := checkAccessID(ask.user); err != nil || !utf8.ValidString(ask.user) {
		return ask, errors.New("recipient is no user's id")
	}
	if ask.topics, err = parseTopics(query["topic"]); err != nil {
		return ask, err
	}
	if ask.since, err = parseSince(query.Get("since")); err != nil {
		return ask, err
	}
	from, err := s.parseLastID(r.Header.Get("Last-Event-ID"), query.Get("cursor"))
	if err != nil {
		return ask, err
	}
	ask.from = *from
	ask.replay = query.Get("since") != "" && from.from == nil
	return ask.addressed(recipient != ""), nil
}

// parseLastID reads the cursor to go on from. EventSource reconnects by the URL it
// began with, so the header is the newer one.
func (s *Server) parseLastID(header, parameter string) (*resumption, error) {
	text := header
	if text == "" {
		text = parameter
	}
	return s.parseCursor(&text)
}

func parseTopics(texts []string) ([]sseTopic, error) {
	if len(texts) > maxTopics {
		return nil, fmt.Errorf("more than %d topics are given: one may list several values, as in TYPE.ACTION.KEY1,KEY2", maxTopics)
	}
	var topics []sseTopic
	for _, text := range texts {
		filter, ok := parseDRPFilter(text)
		switch {
		case !utf8.ValidString(text):
			return nil, errors.New("a topic is not valid UTF-8")
		case !ok:
			return nil, fmt.Errorf("the topic %q is not of the form TYPE.ACTION.KEY, where * is any", text)
		case strings.Contains(text, "\x00"):
			return nil, errors.New("a topic contains a NUL character")
		case slices.ContainsFunc(topics, func(t sseTopic) bool { return t.text == text }):
			continue
		}
		topic := sseTopic{text: text, filter: filter}
		if len(filter.Types) == 1 && len(filter.Keys) == 1 {
			topic.about = &object{filter.Types[0], filter.Keys[0]}
		}
		topics = append(topics, topic)
	}
	return topics, nil
}

// parseSince reads RFC 3339 or Unix seconds; zero is any time.
func parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if seconds > lastSecond {
			return time.Time{}, errors.New("since is beyond the year 9999: it is in seconds, not in milliseconds")
		}
		return sinceTime(seconds), nil
	}
	since, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1)) // a plus sign that was not escaped
	if err != nil {
		return since, fmt.Errorf("since is %q: neither a time such as %s nor Unix seconds", text, time.RFC3339)
	}
	if since.IsZero() { // it would read as "any"
		since = since.Add(-time.Nanosecond)
	}
	return since.UTC(), nil
}

// addressed completes the filters. With a recipient, only what is addressed to the
// user is wanted; who that is, is known later.
func (ask sseRequest) addressed(only bool) sseRequest {
	if only && len(ask.topics) == 0 {
		ask.topics = []sseTopic{{text: "recipient"}}
	}
	for i := range ask.topics {
		t := &ask.topics[i]
		t.filter.Since = ask.since
		if only {
			t.filter.Recipient = new("")
		}
	}
	return ask
}

// filters returns those of the topics for a user.
func (ask sseRequest) filters(user string) []notifier.Filter {
	filters := make([]notifier.Filter, len(ask.topics))
	for i, t := range ask.topics {
		filters[i] = t.filter
		if t.filter.Recipient != nil {
			filters[i].Recipient = &user
		}
	}
	return filters
}

// weigh says how many subscriptions they count for.
func (ask sseRequest) weigh(user string) (weight int) {
	for i, f := range ask.filters(user) {
		w := want{name: ask.topics[i].text, filter: func(string) notifier.Filter { return f }}
		weight += w.weigh(user)
	}
	return weight
}
