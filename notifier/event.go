package notifier

import (
	"encoding/json"
	"time"
)

// Event is one row of the log. It is shared by every goroutine that delivers
// it, so it must not be changed once it is published.
type Event struct {
	// ID orders the events of one batch. It is zero in an event that is yet to
	// be stored, as is TxID.
	ID int64
	// TxID is the transaction that wrote the event, with its epoch.
	TxID uint64
	// CreatedAt orders replay and nothing else: a client may have set it.
	// It lies between MinTime and MaxTime.
	CreatedAt time.Time

	Type   string
	Action string
	Key    string // the object's id

	Recipient *string // the access_id it is for; nil: not addressed to one user
	DatasetID *string // access scope; nil: none
	Principal string  // who caused it; "": unknown

	// Payload and Original are JSON exactly as they were written; nil: null.
	Payload  json.RawMessage
	Original json.RawMessage

	// Unordered says that of a change of access that is read together with the
	// event nobody knows whether it was committed before or after.
	Unordered bool

	// Control is not empty for an instruction to the instances themselves.
	// Such an event is never delivered to a client.
	Control Control

	// Where in the log it was read; nil: it was not, or not in the log's order.
	span   *Span
	anchor *Event // of the place behind it; nil: the span's
}

// Control names an instruction carried by the log.
type Control string

// The instructions known to this version; others are ignored.
const (
	// ControlDropUser ends every connection of the user that is the event's
	// recipient.
	ControlDropUser Control = "drop_user"
	// The others say that what the recipient (nil: every user) may read of a
	// dataset (nil: any) has become more, or less, or may be either. Their
	// payload carries the snapshot of the change.
	ControlAccessGranted Control = "access_granted"
	ControlAccessRevoked Control = "access_revoked"
	ControlAccessChanged Control = "access_changed"
)

// MinTime and MaxTime are the first and the last second that Postgres'
// timestamptz can hold.
var (
	MinTime = time.Date(-4713, time.November, 24, 0, 0, 0, 0, time.UTC)
	MaxTime = time.Date(294276, time.December, 31, 23, 59, 59, 0, time.UTC)
)
