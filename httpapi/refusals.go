package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/notifier/httpapi/auth"
)

// Refusal says why a client was not let in, or not given what it asked for. Its
// text is at once the log attribute and the metric label; that of a limit is the
// name of its setting.
type Refusal string

// The reasons for which clients are refused.
const (
	RefusedStarting Refusal = "starting" // the server does not follow the log yet
	RefusedDraining Refusal = "draining" // the server stops

	RefusedConnections   Refusal = "max_connections"
	RefusedPerUser       Refusal = "max_connections_per_user"
	RefusedPerAddress    Refusal = "max_connections_per_address"
	RefusedConnects      Refusal = "max_connects"
	RefusedRequests      Refusal = "max_requests"
	RefusedPushing       Refusal = "max_pushing"
	RefusedSubscriptions Refusal = "max_subscriptions"

	RefusedNoToken       Refusal = "no_token"
	RefusedBadToken      Refusal = "invalid_token"
	RefusedBadLogin      Refusal = "wrong_password"
	RefusedThrottled     Refusal = "login_throttled"
	RefusedPlainPassword Refusal = "plain_password" // others could have read it on its way
	RefusedNoUser        Refusal = "unknown_user"
	RefusedNoRole        Refusal = "missing_role"
	RefusedNoAccess      Refusal = "no_access"
	RefusedNotYou        Refusal = "not_the_tokens_user"
	RefusedHost          Refusal = "host"   // of a request in anonymous mode
	RefusedOrigin        Refusal = "origin" // likewise

	RefusedOutage Refusal = "unavailable" // what it takes to decide can't be had now
)

// allRefusals are the reasons there are.
var allRefusals = []Refusal{
	RefusedStarting, RefusedDraining,
	RefusedConnections, RefusedPerUser, RefusedPerAddress, RefusedConnects, RefusedRequests, RefusedPushing, RefusedSubscriptions,
	RefusedNoToken, RefusedBadToken, RefusedBadLogin, RefusedThrottled, RefusedPlainPassword,
	RefusedNoUser, RefusedNoRole, RefusedNoAccess, RefusedNotYou, RefusedHost, RefusedOrigin,
	RefusedOutage,
}

// needsOperator reports whether an operator should hear of it: those who have done
// nothing wrong may be refused for a setting, too.
func (r Refusal) needsOperator() bool {
	switch r {
	case RefusedConnections, RefusedPerUser, RefusedPerAddress, RefusedConnects, RefusedRequests, RefusedPushing, RefusedHost, RefusedOrigin:
		return true
	}
	return false
}

// refusalFor returns the reason that an error stands for; "": it is no refusal.
func refusalFor(err error) Refusal {
	if err == nil {
		return ""
	}
	if _, ok := errors.AsType[*auth.ThrottledError](err); ok {
		return RefusedThrottled
	}
	for _, known := range []struct {
		err    error
		reason Refusal
	}{
		{errNoToken, RefusedNoToken}, {errBadToken, RefusedBadToken}, {errExpired, RefusedBadToken},
		{errBadLogin, RefusedBadLogin}, {errThrottled, RefusedThrottled}, {errPlainPassword, RefusedPlainPassword},
		{errNoUser, RefusedNoUser}, {errNotYou, RefusedNotYou}, {errNoAccess, RefusedNoAccess},
		{errTooMuch, RefusedSubscriptions}, {errCrowded, RefusedPerUser}, {errBusy, RefusedPushing},
		{errUnavailable, RefusedOutage},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return ""
}

// logPause is the least time between two warnings about one reason: a flood must
// not become one of lines.
const logPause = time.Minute

// refusals counts who was refused, by the reason.
type refusals struct {
	logger  *slog.Logger
	reasons map[Refusal]*refusalCount // never changed
}

type refusalCount struct {
	number atomic.Uint64
	told   atomic.Int64 // when it was logged last, in nanoseconds; 0: never
}

func newRefusals(logger *slog.Logger) *refusals {
	r := &refusals{logger, make(map[Refusal]*refusalCount, len(allRefusals))}
	for _, reason := range allRefusals {
		r.reasons[reason] = &refusalCount{}
	}
	return r
}

// note counts a refusal; "" is none. The attributes say who was refused.
func (r *refusals) note(reason Refusal, attributes ...any) {
	count := r.reasons[reason]
	if count == nil {
		return
	}
	number, level := count.number.Add(1), slog.LevelDebug
	now, told := time.Now().UnixNano(), count.told.Load()
	if reason.needsOperator() && (told == 0 || now-told >= int64(logPause)) && count.told.CompareAndSwap(told, now) {
		level = slog.LevelWarn
	}
	r.logger.Log(context.Background(), level, "refused", append([]any{"reason", string(reason), "so_far", number}, attributes...)...)
}

// noteError counts what an error stands for, if it is a refusal.
func (r *refusals) noteError(err error) {
	if reason := refusalFor(err); reason != "" {
		r.note(reason)
	}
}

// Refusals returns how many clients, requests and messages have been refused
// since the start, by the reason. Every reason is there.
func (s *Server) Refusals() map[Refusal]uint64 {
	numbers := make(map[Refusal]uint64, len(allRefusals))
	for reason, count := range s.refusals.reasons {
		numbers[reason] = count.number.Load()
	}
	return numbers
}

// turnedAway is how a client is told that it is refused before anything was done
// for it.
type turnedAway struct {
	status int
	text   string
	again  time.Duration // after at least this and at most twice as long it may try again
}

var turnedAways = map[Refusal]turnedAway{
	RefusedStarting:    {http.StatusServiceUnavailable, "starting: try again", time.Second},
	RefusedDraining:    {http.StatusServiceUnavailable, "shutting down: try again", time.Second},
	RefusedConnections: {http.StatusServiceUnavailable, "too many connections: try again", 10 * time.Second},
	RefusedConnects:    {http.StatusServiceUnavailable, "too many connections at once: try again", 3 * time.Second},
	RefusedRequests:    {http.StatusServiceUnavailable, "too many requests at once: try again", time.Second},
	RefusedPerUser:     {http.StatusTooManyRequests, errCrowded.Error(), 30 * time.Second},
	RefusedPerAddress:  {http.StatusTooManyRequests, "too many connections from this address", 30 * time.Second},
}

// turnAway refuses a request, and counts that.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, why Refusal) {
	s.refusals.note(why, "remote", r.RemoteAddr, "path", r.URL.Path)
	told := turnedAways[why]
	retryAfter(w, told.again)
	refuse(w, told.status, told.text)
}

// comeAgainLater tells who is refused for now when to come again, if nothing else
// has yet.
func comeAgainLater(w http.ResponseWriter, status int) {
	if status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		retryAfter(w, time.Second)
	}
}

// retryAfter tells a client when to come again: after a time, or up to twice as
// long, as those who are refused together should not come again together.
func retryAfter(w http.ResponseWriter, least time.Duration) {
	seconds := int64((least + rand.N(least+1) + time.Second/2) / time.Second)
	w.Header().Set("Retry-After", strconv.FormatInt(max(1, seconds), 10))
}
