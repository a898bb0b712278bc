package httpapi

import (
	"errors"
	"time"

	"example.com/notifier/notifier"
)

// codec is all that differs between protocols on a WebSocket: it translates a
// client's messages to commands, and what comes of them to frames. One value
// serves every connection of the protocol, so it keeps no state; it is also the
// encoder by which the core shares frames.
type codec interface {
	notifier.Encoder
	// name is what operators call the protocol.
	name() string
	// binary reports whether a binary message is one like any other. If not, it
	// is ignored.
	binary() bool
	// decode reads a message. An error means that it can't be understood at
	// all; what is wrong with its content goes into the command's fault.
	decode(message []byte) (command, error)
	// reply returns the frame that answers a message, given what carrying the
	// command out has yielded, or what that or decode failed with; nil: none.
	reply(cmd command, got result, err error) []byte
	// ends reports whether a connection ends over such a failure.
	ends(err error) bool
	// once reports whether a client subscribes once and for all: what it says
	// later only counts for the token it shows.
	once() bool
	// lost returns the frame that tells a client that some of its
	// subscriptions have ended, because of errRevoked or errExpired; nil: none.
	// Without one, the connection ends over an expired token if ends says so.
	lost(err error) []byte
	// cursors returns what encodes events for the clients that want a cursor with
	// each.
	cursors(*notifier.CursorSigner) notifier.Encoder
	// cursorFrame returns the frame of a cursor alone, gapFrame that of one before
	// which something was missed, nobody knows what.
	cursorFrame(cursor string) []byte
	gapFrame(cursor string) []byte
}

// action is what a command wants.
type action int

const (
	nothing action = iota
	subscribe
	unsubscribe
	logIn  // the connection, as whom the command's credential names
	logOut // the connection, with all that it has subscribed to
	resume // what is subscribed to, from the command's cursor on
)

// command is what a client asks for.
type command struct {
	action action
	// wants are the subscriptions to begin or to end; none: nothing can be what
	// the client asks for.
	wants []want
	// token is what the message itself shows; shown says whether it has a
	// place for one, even an empty one.
	token string
	shown bool
	// password is what the client shows to log in, in place of a token; nil: a
	// token, or nothing.
	password *password
	// user is whom the client says it acts for; "": whoever it is.
	user string
	// about is the object whose dataset decides whether the subscription is
	// granted; nil: the dataset of each event decides.
	about *object
	// replay asks for what is stored, too, of the only thing wanted.
	replay bool
	// cursor is where the client wants to go on, "": from now on; nil: it wants no
	// cursors.
	cursor *string
	// fault is what is wrong with the content. It is told only to a client that
	// may know.
	fault error
	// said is what the codec needs of the message for its reply.
	said any
}

// want is a subscription that a command asks for.
type want struct {
	// name tells the subscriptions of one connection apart: there is one of
	// each name.
	name string
	// filter is made for the user it is for.
	filter func(user string) notifier.Filter
	// latest has the newest stored event go ahead of the answer; the filter
	// names one type.
	latest bool
}

// result is what carrying out a command yields.
type result struct {
	// begin, if not nil, is to be called after the answer, also to a command
	// that failed: until then, no event goes out.
	begin func()
	// verdict is what has become of the command's cursor; zero: it had none.
	verdict verdict
	// token is what the client has logged in with, or may from now on, and
	// expires is its end; zero: none.
	token   string
	expires time.Time
}

// password is a user's. It must never be printed.
type password struct{ user, text string }

type object struct{ eventType, key string }

// What carrying out a command can fail with. Each protocol has its own words.
var (
	errNotUnderstood = errors.New("not understood")

	errNoToken     = errors.New("no token")
	errBadToken    = errors.New("invalid token")
	errNoUser      = errors.New("unknown user")
	errNotYou      = errors.New("not this token's user")
	errNoAccess    = errors.New("no access")
	errTooMuch     = errors.New("too many subscriptions")
	errCrowded     = errors.New("too many connections of this user")
	errUnknown     = errors.New("no such thing can be asked for")
	errThrottled   = errors.New("too many failed logins")
	errUnavailable = errors.New("not available now")
	errBadCursor   = errors.New("not a cursor of this server")
	// errRevoked and errExpired end subscriptions that were granted before.
	errRevoked = errors.New("access was revoked")
	errExpired = errors.New("the token has expired")
)
