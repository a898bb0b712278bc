package httpapi

import (
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/notifier/notifier"
)

// closing is what a close frame says.
type closing struct {
	code   uint16 // RFC 6455, 7.4.1
	reason string
}

// closings translates the reasons for which we end a connection. Codes decide
// what a client does next: after 1012 and 1013 it should come again, after 1008
// it should first think.
var closings = map[notifier.Ending]closing{
	notifier.EndedByDrop:      {1000, "close"}, // ernius: code and text are the real server's
	notifier.EndedByClient:    {1000, ""},
	notifier.EndedBySlowness:  {1008, "slow client: it took nothing for too long"},
	notifier.EndedByRetention: {1013, "too far behind: what comes next is not stored any more"},
	notifier.EndedBySilence:   {1008, "no pong"},
	notifier.EndedByDeadline:  {1008, "no first message in time"},
	notifier.EndedByProtocol:  {1008, "message not understood"},
	notifier.EndedByAccess:    {1008, "not authorized"},
	notifier.EndedByLimit:     {1008, "too many subscriptions on one connection"},
	notifier.EndedByTrickle:   {1008, "message did not arrive in time"},
	notifier.EndedByCrowd:     {1008, errCrowded.Error()},
	notifier.EndedByExpiry:    {1008, "token expired"},
	// sysadm: codes, and the one text, are the real server's
	notifier.EndedByNoLogin:  {1000, "no login in time"},
	notifier.EndedByIdleness: {1000, "no message for too long"},
	notifier.EndedByThrottle: {1000, "Too Many Authorization Failures - Try again later"},
	notifier.EndedByShutdown: {1012, "restarting"},
	notifier.EndedByOutage:   {1013, "not available now: try again"},
}

// comeAgain is the least time after which the clients of a server that stops
// should come again; each is told another, up to comeAgainMost. They are closed
// spread over a longer time: this only keeps apart those who are closed in one
// moment, and lets a balancer notice.
const (
	comeAgain     = 250 * time.Millisecond
	comeAgainMost = 1250 * time.Millisecond
)

// closingFor returns what a close frame says for that reason. Who is to come
// again is told when, in words that a client may read: README.md promises them.
func closingFor(ending notifier.Ending) closing {
	said := closings[ending]
	if ending == notifier.EndedByShutdown {
		pause := comeAgain + rand.N(comeAgainMost-comeAgain)
		said.reason += fmt.Sprintf("; retry in %d ms", pause.Milliseconds())
	}
	return said
}
