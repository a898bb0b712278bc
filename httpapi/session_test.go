package httpapi_test

import (
	"context"
	"testing"
	"time"

	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

// staleOnce answers about a user first as of long ago, and then that there is no
// such user.
type staleOnce struct {
	*directory
	user string
	was  bool
}

func (s *staleOnce) Admit(ctx context.Context, user, eventType, key string) (notifier.Admission, error) {
	a, err := s.directory.Admit(ctx, user, eventType, key)
	if user == s.user {
		a = notifier.Admission{Exists: !s.was, At: position(1)}
		s.was = true
	}
	return a, err
}

// A subscription that is refused when the policy is asked again holds nothing
// back of what others of the connection are owed.
func TestSession_RefusedAtTheSecondAsking(t *testing.T) {
	t.Parallel()
	d := newDirectory("a", "b")
	s := setup(t, guarded(t, d, asAirlay(t)), func(c *httpapi.Config) { c.Store = &staleOnce{directory: d, user: "b"} })
	user := "b"
	d.control(&notifier.Event{Control: notifier.ControlAccessChanged, Recipient: &user})
	c := s.dial("/ws")
	attach := func(user, answer string) {
		t.Helper()
		c.text(`{"auth":"` + airlayToken(t, user, time.Hour) + `","action":"attach","event":{"type":"issueUpdate","id":"1"}}`)
		c.expect(opText, answer)
	}
	attach("a", `{"status":200,"message":"Ok","code":0}`)
	attach("b", `{"status":400,"message":"User not exists","code":3}`)
	e := notifier.Event{Type: "issueUpdate", Key: "1", CreatedAt: time.Now(), Payload: []byte("[]")}
	d.publish(t, e)
	c.expect(opText, `{"type":"issueUpdate","id":"1","data":[]}`)
}
