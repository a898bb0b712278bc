// Package testcontainers lets an application's own integration tests run against
// notifier: a real Postgres, a real server, real clients of every protocol.
//
//	var shop = testcontainers.New(testcontainers.Schema(migrate))
//
//	func TestMain(m *testing.M) { testcontainers.Main(m) }
//
//	func TestOrder(t *testing.T) {
//		n := shop.Start(t)
//		n.User("ann")
//		ann := n.DRP(t, "ann", "order.*.*")
//		placeOrder(t, n.DatabaseURL(), "ann")
//		ann.Expect(testcontainers.Want{Type: "order", Action: "insert"})
//	}
//
// # The model
//
// A [Suite] is what an application brings: its schema, and how Postgres and notifier
// are to run. The first test that needs it has Postgres started (a given URL, a
// container, or an embedded cluster) and a template made, with notifier's schema and
// the application's. [Suite.Start] clones the template, so each test has a database of
// its own, an [Environment], with one notifier in front of it, an [Instance]; more can
// be had. Tests may be parallel.
//
// A [Subscriber] is a client of one of the protocols, whose events come in one form,
// [Event]. It is subscribed once the call that makes it returns, so a test may write at
// once. What it must get, [Subscriber.Expect] says. That nothing else comes is not
// found out by waiting: an event of this package's own, the fence, is published to the
// subscriber, and what has not come before it does not come.
//
// Faults are methods: an [Instance] stops, is killed, loses its database or its
// clients ([Instance.Database], [Instance.Network]); an [Environment] ends the LISTEN
// connections, holds a transaction open so that others commit past it, crashes
// Postgres; a [Subscriber] stalls, and resumes from its cursor.
//
// All methods are for the test's own goroutine, unless they say otherwise, and fail the
// test that what they belong to was made for.
package testcontainers
