package httpapi

import (
	"errors"
	"strconv"
	"time"

	"example.com/notifier/notifier"
)

// sysadmRequest is what of a request its answer needs.
type sysadmRequest struct {
	namespace, name, id string
	args                []byte
	cursor              *string // nil: none are wanted
	good                []byte  // args of the answer if all goes well; nil: a session's
}

// readSysadmRequest reads the envelope of a request, an object. Without args, the
// request itself is taken for them, as the real server does. Only a string is an
// id, a name or a namespace.
func readSysadmRequest(message []byte) sysadmRequest {
	r := sysadmRequest{args: message}
	for key, value := range members(message) { // of a repeated key, the last counts
		switch key {
		case "namespace":
			r.namespace, _ = parseString(value)
		case "name":
			r.name, _ = parseString(value)
		case "id":
			r.id, _ = parseString(value)
		case "args":
			r.args = value
		case "cursor":
			r.cursor = parseCursorMember(value)
		}
	}
	return r
}

// decodeRPC reads a request of the namespace rpc. identify is for everybody, who
// says nothing of this server or its host that matters.
func (r *sysadmRequest) decodeRPC(cmd *command) {
	switch r.name {
	case "identify":
		cmd.shown = false
		r.good = []byte(`{"hostname":"notifier","type":"server"}`)
	case "query":
		r.good = []byte("{}") // of what the real server has besides events, this one has nothing
	case "auth":
		cmd.action = logIn
		cmd.password = sysadmPassword(r.args)
	case "auth_token":
		cmd.action = logIn
		cmd.token = sysadmToken(r.args)
	case "auth_ssl": // by a certificate: nobody has one that is known here
		cmd.action = logIn
	case "auth_clear":
		cmd.action = logOut
	default:
		cmd.fault = errUnknown
	}
}

// sysadmPassword returns the user and password in args; nil: there are none.
func sysadmPassword(args []byte) *password {
	var p password
	var named, shown bool
	for key, value := range members(args) {
		switch key {
		case "username":
			p.user, named = parseString(value)
		case "password":
			p.text, shown = parseString(value)
		}
	}
	if !named || !shown {
		return nil
	}
	return &p
}

func sysadmToken(args []byte) (token string) {
	for key, value := range members(args) {
		if key == "token" {
			token, _ = parseString(value)
		}
	}
	return token
}

// sysadmObject returns an object of one member, a string.
func sysadmObject(key, value string) []byte {
	object := appendString([]byte{'{'}, key)
	object = append(object, ':')
	return append(appendString(object, value), '}')
}

// reply answers every request but auth_clear, and none that the connection ends
// over for our own sake.
func (*sysadm) reply(cmd command, got result, err error) []byte {
	r, _ := cmd.said.(sysadmRequest)
	switch {
	case errors.Is(err, errUnavailable), errors.Is(err, notifier.ErrGone), cmd.action == logOut && err == nil:
		return nil
	case err != nil:
		return r.failure(err)
	case r.good == nil:
		return r.answer(sysadmSessionOf(got, time.Now()))
	}
	if v := got.verdict; v.word != "" {
		args := append(r.good[:len(r.good)-1:len(r.good)-1], ',') // it names a type at least
		args = appendVerdict(args, v)
		args = appendString(append(args, `,"cursor":`...), v.cursor)
		return r.answer(append(args, '}'))
	}
	return r.answer(r.good)
}

// sysadmSessionOf returns a token and the seconds it has left; one without an end
// is said to have what is usual.
func sysadmSessionOf(got result, now time.Time) []byte {
	left := sysadmSession
	if !got.expires.IsZero() {
		left = max(0, got.expires.Sub(now))
	}
	list := appendString([]byte{'['}, got.token)
	list = append(list, ',')
	list = strconv.AppendInt(list, int64(left.Round(time.Second)/time.Second), 10)
	return append(list, ']')
}

// answer returns a good reply. One to a request without an id can't be told by
// it, so it repeats the request's name.
func (r *sysadmRequest) answer(args []byte) []byte {
	name := "response"
	if r.id == "" {
		name = r.name
	}
	return sysadmFrame(args, r.id, name, r.namespace)
}

// failure returns the reply to a request that is refused. Its code is a string.
func (r *sysadmRequest) failure(err error) []byte {
	code, text := sysadmCode(err)
	return sysadmFrame([]byte(`{"code":"`+code+`","message":"`+text+`"}`), r.id, "error", "error")
}

func sysadmCode(err error) (code, text string) {
	switch {
	case errors.Is(err, errNotUnderstood), errors.Is(err, errTooMuch), errors.Is(err, errBadCursor):
		return "400", "Bad Request"
	case errors.Is(err, errUnknown):
		return "404", "Not Found"
	case errors.Is(err, errNoAccess), errors.Is(err, errThrottled):
		return "403", "Forbidden"
	}
	return "401", "Unauthorized"
}

// ends is true of who has failed to log in so often that the next try must wait.
func (*sysadm) ends(err error) bool { return errors.Is(err, errThrottled) }

// sysadmFrame returns a message; its keys are in the order of the real server's.
func sysadmFrame(args []byte, id, name, namespace string) []byte {
	return sysadmMessage(args, nil, id, name, namespace)
}

// sysadmMessage has a cursor besides, if there is one.
func sysadmMessage(args, cursor []byte, id, name, namespace string) []byte {
	buffer := make([]byte, headerRoom, headerRoom+80+len(args)+len(cursor)+len(id)+len(name)+len(namespace))
	buffer = append(append(buffer, `{"args":`...), args...)
	if cursor != nil {
		buffer = append(append(buffer, `,"cursor":`...), cursor...)
	}
	buffer = appendString(append(buffer, `,"id":`...), id)
	buffer = appendString(append(buffer, `,"name":`...), name)
	buffer = appendString(append(buffer, `,"namespace":`...), namespace)
	return textFrame(append(buffer, '}'))
}
