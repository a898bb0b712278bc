package notifier

import "errors"

// Publication is a list of events to be stored in one transaction: all or none.
type Publication struct {
	Events []Event
	// Principal is the user who publishes; "" is nobody known. Idempotency
	// keys are told apart by it, so nobody can use up another's.
	Principal string
	// IdempotencyKey makes a repetition of the whole list harmless: a list
	// whose key is known stores nothing. "": none.
	IdempotencyKey string
	// EventKeys, if not nil, holds such a key for each event, "" for none. An
	// event whose key is known, or stands earlier in the list, is left out.
	EventKeys []string
}

// ErrUnstorable is wrapped by the errors of a store that refuses a publication
// for what it holds, such as a text with a NUL character. The same publication
// will be refused again; any other error may pass.
var ErrUnstorable = errors.New("cannot be stored")

// ErrOutcomeUnknown is wrapped by the error of a store whose connection broke
// while the commit was under way, if it could not find out how that ended.
var ErrOutcomeUnknown = errors.New("whether the events were stored is unknown")
