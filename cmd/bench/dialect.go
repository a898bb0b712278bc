//go:build linux

package main

import (
	"bytes"
	"encoding/json"
)

// dialect is what the clients of a swarm speak.
type dialect struct {
	path  string
	hello func(client int) []byte // the one message that a client sends
	mark  []byte                  // what comes before an event's number
	// reply and good are how any answer to hello, and a good one, begin; empty:
	// the protocol has none.
	reply, good []byte
}

// ernius announces clients, each with its own access_id, who want everything.
func ernius(accessID func(int) string) dialect {
	return dialect{
		path: "/subscribe_to_events",
		hello: func(i int) []byte {
			return mustJSON(map[string]any{"access_id": accessID(i), "timestamp": 0})
		},
		mark: []byte(`"payload":"`),
	}
}

// airlay attaches clients to one object, each with its own token.
func airlay(eventType, id string, token func(int) string) dialect {
	return dialect{
		path: "/ws",
		hello: func(i int) []byte {
			return mustJSON(map[string]any{
				"auth": token(i), "action": "attach", "event": map[string]any{"type": eventType, "id": id},
			})
		},
		mark:  []byte(`"data":["`),
		reply: []byte(`{"status":`),
		good:  []byte(`{"status":200,`),
	}
}

func (d dialect) isReply(text []byte) bool {
	return len(d.reply) > 0 && bytes.HasPrefix(text, d.reply)
}

func (d dialect) agrees(text []byte) bool { return bytes.HasPrefix(text, d.good) }

// mustJSON encodes what can't fail.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
