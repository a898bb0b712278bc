package httpapi

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/notifier/notifier"
)

// The types that every sysadm client may subscribe to. The real server keeps the
// last event of two of them for who comes later.
const (
	sysadmDispatcher    = "dispatcher"
	sysadmLifePreserver = "life-preserver"
	sysadmSystemState   = "system-state"
)

// sysadmAnyType in a list of types stands for all.
const sysadmAnyType = "*"

// maxSysadmType bounds a type, in bytes.
const maxSysadmType = 1024

// The times of the real server: for logging in, between two messages of a client,
// and between two requests on one login.
const (
	sysadmLogin   = 30 * time.Second
	sysadmSilence = 30 * time.Minute
	sysadmSession = 900 * time.Second
)

// sysadm is the protocol of sysadm's clients: requests with an id, one at a time,
// for logging in and for events by their type.
type sysadm struct {
	types  map[string]bool
	any    bool            // whatever type is asked for, there is
	latest map[string]bool // whose last event comes with each subscription
}

func newSysadm(c Config) *sysadm {
	s := &sysadm{types: make(map[string]bool), latest: make(map[string]bool)}
	for _, t := range c.SysadmLatest {
		s.latest[t] = true
	}
	known := []string{sysadmDispatcher, sysadmLifePreserver, sysadmSystemState}
	for _, t := range slices.Concat(known, c.SysadmTypes, c.SysadmLatest) {
		s.types[t] = true
	}
	s.any = s.types[sysadmAnyType]
	return s
}

// Joins is false: each event is a message.
func (*sysadm) Joins() bool { return false }

// Encode returns the message of an event. Its args are the payload as it was
// written; clients expect an object, so nothing becomes an empty one.
func (*sysadm) Encode(events []*notifier.Event) []byte { return sysadmEvent(events[0], nil) }

// sysadmEvent adds the cursor if there is a signer.
func sysadmEvent(e *notifier.Event, signer *notifier.CursorSigner) []byte {
	args := []byte(e.Payload)
	if kind := kindOf(args); kind == "null" || kind == "nothing" {
		args = []byte("{}")
	}
	var cursor []byte
	if signer != nil {
		cursor = appendCursor(nil, signer, e)
	}
	return sysadmMessage(args, cursor, "", e.Type, "events")
}

// sysadmCursors encodes for clients that want cursors.
type sysadmCursors struct{ signer *notifier.CursorSigner }

// Encode has the event carry its cursor.
func (c sysadmCursors) Encode(events []*notifier.Event) []byte {
	return sysadmEvent(events[0], c.signer)
}

// Joins is as without cursors.
func (sysadmCursors) Joins() bool { return false }

func (*sysadm) cursors(signer *notifier.CursorSigner) notifier.Encoder { return sysadmCursors{signer} }

func (*sysadm) cursorFrame(cursor string) []byte {
	return sysadmMessage([]byte("{}"), appendString(nil, cursor), "", "cursor", "events")
}

func (*sysadm) gapFrame(cursor string) []byte {
	return sysadmMessage([]byte(`{"verdict":"gap"}`), appendString(nil, cursor), "", "cursor", "events")
}

func (*sysadm) name() string { return "sysadm" }

// binary is true: the real server takes it for text.
func (*sysadm) binary() bool { return true }

// once is false: a client subscribes as it likes.
func (*sysadm) once() bool { return false }

// lost has no words: events just cease, and what the client asks for next is
// answered by 401.
func (*sysadm) lost(error) []byte { return nil }

// patience is the real server's.
func (*sysadm) patience() patience {
	return patience{login: sysadmLogin, silence: sysadmSilence, session: sysadmSession}
}

// decode reads a request. The order of checks is the real server's: its form,
// then who asks, then what for.
func (s *sysadm) decode(message []byte) (command, error) {
	if !utf8.Valid(message) || !json.Valid(message) || kindOf(message) != "an object" {
		return command{}, errNotUnderstood
	}
	request := readSysadmRequest(message)
	cmd := command{shown: true}
	err := error(nil)
	switch namespace := strings.ToLower(request.namespace); {
	case namespace == "" || request.name == "":
		err = errNotUnderstood
	case namespace == "rpc":
		request.decodeRPC(&cmd)
	case namespace == "events":
		s.decodeEvents(&cmd, &request)
	default:
		cmd.fault = errUnknown
	}
	cmd.said = request
	return cmd, err
}

// decodeEvents reads a request of the namespace events. Types that there are not
// are left out in silence.
func (s *sysadm) decodeEvents(cmd *command, r *sysadmRequest) {
	switch r.name {
	case "subscribe":
		cmd.action = subscribe
	case "unsubscribe":
		cmd.action = unsubscribe
	default:
		cmd.fault = errNotUnderstood
		return
	}
	types, ok := sysadmTypes(r.args)
	if !ok {
		cmd.fault = errNotUnderstood
		return
	}
	if cmd.action == subscribe {
		cmd.cursor = r.cursor
	}
	named := make(map[string]bool, len(types))
	r.good = []byte("{}")
	for _, t := range types {
		if !s.has(t) {
			continue
		}
		r.good = sysadmObject(r.name, t) // of a list, the last counts
		if !named[t] {
			named[t] = true
			cmd.wants = append(cmd.wants, want{
				name:   t,
				filter: func(string) notifier.Filter { return notifier.Filter{Types: []string{t}} },
				latest: s.latest[t],
			})
		}
	}
}

// has reports whether there is such a type of events.
func (s *sysadm) has(eventType string) bool {
	return s.types[eventType] && eventType != sysadmAnyType ||
		s.any && eventType != "" && len(eventType) <= maxSysadmType && !strings.ContainsRune(eventType, 0)
}

// sysadmTypes reads the args of a subscription: a list, or one type by itself.
// What in a list is no string is no type.
func sysadmTypes(args []byte) (types []string, ok bool) {
	switch kindOf(args) {
	case "a string":
		one, _ := parseString(args)
		return []string{one}, one != ""
	case "a list":
		for element := range elements(args) {
			one, _ := parseString(element)
			types = append(types, one)
		}
	}
	return types, len(types) > 0
}
