package notifier

// Finding is what was found when something was looked at.
type Finding struct {
	Name   string   `json:"name"`
	Status Severity `json:"status"`
	Found  string   `json:"found"`
	// Advice is what to do about it; "" if all is well.
	Advice string `json:"advice,omitempty"`
}

// Severity is how bad a finding is.
type Severity string

// The severities.
const (
	OK      Severity = "ok"
	Warning Severity = "warning" // it works, but not for ever, or not as well as it could
	Failure Severity = "failure" // something does not work
)
