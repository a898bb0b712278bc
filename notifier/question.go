package notifier

// Question asks a policy whether a user may read the events of a type in a
// dataset. Questions are comparable.
type Question struct {
	User, Type, Dataset string
	HasDataset          bool // false: the event belongs to no dataset
}

// questionOf returns the question that decides whether the user may read the
// event, as far as the policy has a say: a recipient is looked at before.
func questionOf(user string, e *Event) Question {
	q := Question{User: user, Type: e.Type}
	if e.DatasetID != nil {
		q.Dataset, q.HasDataset = *e.DatasetID, true
	}
	return q
}
