package testcontainers_test

import (
	"fmt"
	"testing"

	"example.com/notifier/testcontainers"
	"github.com/jackc/pgx/v5"
)

// What happens to ann's order reaches ann, and nobody else.
func Example() {
	TestOrder := func(t testing.TB) {
		n := shop.Start(t) // a database of its own, with the shop's tables, and a notifier
		n.User("ann", "bob")
		ann := n.DRP(t, "ann", "order.*.*")
		bob := n.SSE(t, "bob", "*.*.*")

		n.Exec(`INSERT INTO orders (id, customer, total) VALUES (10, 'ann', 9.50)`)
		n.Exec(`UPDATE orders SET total = 12 WHERE id = 10`)

		ann.Expect(
			testcontainers.Want{Type: "order", Action: "insert", Key: "10"},
			testcontainers.Want{
				Type: "order", Action: "update", Key: "10",
				Payload:  testcontainers.Containing(`{"total": 12}`),
				Original: testcontainers.Containing(`{"total": 9.5}`),
			})
		bob.ExpectNothing()
	}
	run(TestOrder)
	// Output: passed
}

// A client that was away gets what it missed, once.
func ExampleSubscriber_Resume() {
	run(func(t testing.TB) {
		n := shop.Start(t)
		n.User("ann")
		ann := n.SSE(t, "ann")
		ann.Disconnect()
		n.Exec(`INSERT INTO orders (id, customer) VALUES (10, 'ann')`)
		n.Kill()
		n.Start()
		ann.Resume()
		ann.Expect(testcontainers.Want{Type: "order", Key: "10"})
		fmt.Println(ann.Events()[0])
	})
	// Output:
	// order insert 10 for ann by till {"id":10,"customer":"ann","shop":null,"total":null}
	// passed
}

// A transaction that began earlier commits later.
func ExampleEnvironment_Hold() {
	run(func(t testing.TB) {
		n := shop.Start(t)
		n.User("ann")
		ann := n.Airlay(t, "ann", "order/10", "order/11")
		held := n.Hold(func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO orders (id, customer) VALUES (10, 'ann')`)
			return err
		})
		n.Exec(`INSERT INTO orders (id, customer) VALUES (11, 'ann')`)
		ann.Expect(testcontainers.Want{Key: "11"})
		held.Commit()
		ann.Expect(testcontainers.Want{Key: "10"})
	})
	// Output: passed
}

// Access that is taken away counts for all that is committed afterwards.
func ExampleEnvironment_Revoke() {
	run(func(t testing.TB) {
		n := shop.Start(t)
		n.User("ann", "bob")
		n.Grant("ann", "north")
		n.Grant("bob", "north")
		ann, bob := n.SSE(t, "ann", "order.*.*"), n.SSE(t, "bob", "order.*.*")
		n.Revoke("bob", "north")
		n.Exec(`INSERT INTO orders (id, shop) VALUES (10, 'north')`)
		ann.Expect(testcontainers.Want{Key: "10", DatasetID: "north"})
		bob.ExpectNothing()
		n.NotDelivered(testcontainers.Want{DatasetID: "north"}, "bob")
	})
	// Output: passed
}
