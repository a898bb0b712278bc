package httpapi

import "example.com/notifier/notifier"

// codec is all that differs between protocols on a WebSocket. One value serves
// every connection of the protocol, so it keeps no state; it is also the
// encoder by which the core shares frames.
type codec interface {
	notifier.Encoder
	// decode reads what a client's first message asks for.
	decode(message []byte) (command, error)
	// complaint returns the frame that tells a client that its message was not
	// understood; nil: none.
	complaint(err error) []byte
}

// command is what a client asks for: the events of one filter, those that are
// stored as well as those to come.
type command struct {
	user   string // whom the client says it acts for
	filter notifier.Filter
}
