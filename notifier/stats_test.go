package notifier_test

import (
	"testing"

	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

// An event counts once for each client, whatever number of its filters want it,
// and joined with others or not; subscriptions end in several ways, each once.
func TestHub_Stats(t *testing.T) {
	t.Parallel()
	h := notifier.NewHub(notifier.HubConfig{})
	join(h, "a", ids{}, forUser("a"), notifier.Filter{Types: []string{"t"}})
	_, leaving := join(h, "b", ids{joins: true}, forUser("b"), forUser("b"))
	join(h, "c", ids{}, forUser("c"))
	sub, _, err := subscribe(h, leaving, forUser("x"))
	if err != nil {
		t.Fatal(err)
	}
	want := func(w notifier.HubStats) {
		t.Helper()
		if diff := cmp.Diff(w, h.Stats()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	want(notifier.HubStats{Subscribers: 3, Subscriptions: 6})
	publish(h, to("a", 100, 1), to("b", 101, 2), to("b", 101, 3), to("nobody", 102, 4))
	want(notifier.HubStats{Subscribers: 3, Subscriptions: 6, Deliveries: 4 + 2}) // a sees all
	h.Unsubscribe(sub)
	h.Unsubscribe(sub)
	want(notifier.HubStats{Subscribers: 3, Subscriptions: 5, Deliveries: 6})
	h.Leave(leaving)
	h.Leave(leaving)
	want(notifier.HubStats{Subscribers: 2, Subscriptions: 3, Deliveries: 6})
}
