package notifier

// Admission is what the policy says to a user who wants to subscribe.
type Admission struct {
	Exists  bool     // the user is known
	Dataset *string  // the dataset the object belongs to; nil: each event says
	MayRead bool     // the user may read events of that type in that dataset
	At      Position // as of when
}
