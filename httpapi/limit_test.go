package httpapi_test

import (
	"strings"
	"testing"

	"example.com/notifier/httpapi"
)

// anonymously is a request of airlay's that needs no token, in anonymous mode.
func anonymously(action, id string) string {
	return strings.Replace(airlayRequest("", action, "issueUpdate", id), `"auth":"",`, "", 1)
}

// A connection may hold so many subscriptions and no more; what it gives back,
// and what only replaces another, leaves room. A long name counts as several.
func TestLimit_Subscriptions(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *httpapi.Config) { c.MaxSubscriptions = 3 })
	c := s.dial("/ws")
	long := strings.Repeat("x", 100) // with the type, two times 64 bytes
	for _, step := range []struct{ action, id, answer string }{
		{"attach", "1", airlayOK}, {"attach", "2", airlayOK}, {"attach", "3", airlayOK},
		{"attach", "4", airlayBad}, {"attach", "3", airlayOK}, {"detach", "4", airlayOK}, {"attach", "4", airlayBad},
		{"detach", "2", airlayOK}, {"attach", long, airlayBad}, {"attach", "4", airlayOK}, {"attach", "2", airlayBad},
		{"detach", "4", airlayOK}, {"detach", "1", airlayOK}, {"attach", long, airlayOK}, {"attach", "1", airlayBad},
	} {
		c.text(anonymously(step.action, step.id))
		c.expect(opText, step.answer)
	}
	for _, id := range []string{"1", "2", "3", "4", long} {
		s.push(about("issueUpdate", id, ""))
	}
	c.expect(opText, `{"type":"issueUpdate","id":"3","data":[]}`)
	c.expect(opText, `{"type":"issueUpdate","id":"`+long+`","data":[]}`)
}

// A client may ask for very much in a row and read the answers later: it is
// read from no faster than it takes them, and not ended for it.
func TestLimit_AnswersWaitForTheClient(t *testing.T) {
	t.Parallel()
	s := setup(t, smallBuffers)
	c := s.dialNarrow("/ws")
	const requests, before = 5000, 1000
	sent := make(chan struct{})
	go func() { // ends when all are sent, or with the connection
		for i := range requests {
			if i == before {
				close(sent)
			}
			_, _ = c.Write(masked(0x80|opText, anonymously("detach", "1")))
		}
	}()
	<-sent
	for range requests {
		c.expect(opText, airlayOK)
	}
}
