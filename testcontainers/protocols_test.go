package testcontainers_test

import (
	"testing"

	"example.com/notifier/testcontainers"
)

// clients are one of each protocol, for orders; airlay's must know their objects.
func clients(t *testing.T, i *testcontainers.Instance, user string) map[string]*testcontainers.Subscriber {
	t.Helper()
	return map[string]*testcontainers.Subscriber{
		"ernius": i.Ernius(t, user),
		"airlay": i.Airlay(t, user, "order/10", "order/11", "notification"),
		"drp":    i.DRP(t, user, "order.*.*"),
		"sysadm": i.Sysadm(t, user, "order"),
		"sse":    i.SSE(t, user, "order.*.*"),
		"own":    i.SSE(t, user),
	}
}

func TestSubscribers_EachProtocolHasTheSameEventsAndResumes(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann", "bob")
	all := clients(t, n.Instance, "ann")
	n.Exec(order, 10, "ann", nil, "9.50")
	n.Exec(order, 11, "ann", nil, 3)
	n.Exec(order, 12, "bob", nil, 3)
	wants := []testcontainers.Want{
		{
			Type: "order", Action: "insert", Key: "10", Recipient: "ann", Principal: "till",
			Payload: testcontainers.Equal(`{"total": 9.5, "id": 10, "customer": "ann", "shop": null}`),
		},
		{Type: "order", Action: "insert", Key: "11", Payload: testcontainers.Containing(map[string]int{"total": 3})},
	}
	for name, s := range all {
		s.Expect(wants...)
		if t.Failed() {
			t.Fatalf("by %s", name)
		}
		s.Disconnect()
	}
	witness := n.DRP(t, "ann", "order.*.*")
	n.Exec(`UPDATE orders SET total = total + 1 WHERE id = 10`)
	witness.Expect(testcontainers.Want{Action: "update"}) // what notifier has not read yet would come live
	for name, s := range all {
		if v := s.Resume(); v.Word != "replayed" || v.Replayed == 0 {
			t.Errorf("%s: verdict %+v", name, v)
		}
		s.Expect(testcontainers.Want{
			Action: "update", Key: "10", Payload: testcontainers.Containing(`{"total": 10.5}`), Original: testcontainers.Containing(`{"total": 9.5}`),
		})
		if v := s.Resume(); v.Word != "resumed" {
			t.Errorf("%s: verdict %+v of what is up to date", name, v)
		}
		s.ExpectNothing()
	}
	for _, e := range all["sse"].Events() {
		if e.CreatedAt.IsZero() || e.Cursor == "" {
			t.Errorf("incomplete: %+v", e)
		}
	}
}
