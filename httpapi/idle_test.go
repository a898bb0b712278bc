package httpapi_test

import (
	"io"
	"strings"
	"testing"
)

// Pongs are taken in by who waits for messages, messages by the library: however
// a client's bytes are cut, each gets its own.
func TestIdle_PongsAndMessagesInAnyPieces(t *testing.T) {
	t.Parallel()
	const text = `{"access_id":"me","timestamp":0}`
	pong := func(payload string) string { return string(masked(0x80|opPong, payload)) }
	announcement, long := string(masked(0x80|opText, text)), pong(strings.Repeat("x", 125))
	for name, pieces := range map[string][]string{
		"a pong alone":               {pong("1"), announcement},
		"pongs together":             {pong("") + long + pong("2"), announcement},
		"a pong and a message":       {pong("1") + announcement},
		"a message behind a long":    {long + announcement},
		"half a pong":                {long[:7], long[7:] + announcement},
		"the first byte of a pong":   {pong("1")[:1], pong("1")[1:], announcement},
		"half a pong after a pong":   {pong("1") + pong("2")[:3], pong("2")[3:], announcement},
		"a message in two":           {announcement[:9], announcement[9:]},
		"a message and a pong":       {announcement + pong("1")},
		"a pong inside of a message": {string(masked(opText, text[:5])) + pong("1"), string(masked(0x80|opContinuation, text[5:]))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			c := s.dial("/subscribe_to_events")
			for _, piece := range append(pieces, pong("3")) {
				if _, err := io.WriteString(c, piece); err != nil {
					t.Fatal(err)
				}
				s.request("GET", "/livez", "") // meanwhile the server may look at what has come
			}
			s.live(c)
			s.push(event("me", 3000, `"hello"`))
			c.expect(opText, `[{"accessid":"me","created_at":3000,"payload":"hello"}]`)
			c.send(0x80|opClose, closePayload(1000, ""))
			if code, _ := c.expectClose(); code != 1000 {
				t.Errorf("closed with %d", code)
			}
		})
	}
}
