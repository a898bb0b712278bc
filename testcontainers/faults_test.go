package testcontainers_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"example.com/notifier/testcontainers"
	"github.com/jackc/pgx/v5"
)

// keys wants one event for each order.
func keys(ids ...int) (wants []testcontainers.Want) {
	for _, id := range ids {
		wants = append(wants, testcontainers.Want{Type: "order", Key: fmt.Sprint(id)})
	}
	return wants
}

func TestHold_CommitsOutOfOrder(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	ann := n.SSE(t, "ann", "order.*.*")
	held := n.Hold(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), order, 10, "ann", nil, 1)
		return err
	})
	n.Exec(order, 11, "ann", nil, 1)
	ann.Expect(keys(11)...)
	held.Commit()
	ann.Expect(keys(10)...)
	n.Hold(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), order, 12, "ann", nil, 1)
		return err
	}).Rollback()
	ann.ExpectNothing()
}

func TestRevoke_CountsForWhatIsCommittedAfterwards(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann", "bob")
	n.Grant("ann", "s1", "s2")
	n.Grant("bob", "s1")
	ann, bob := n.DRP(t, "ann", "order.*.*"), n.Airlay(t, "bob", "order/10", "order/11")
	n.Exec(order, 10, nil, "s1", 1)
	ann.Expect(keys(10)...)
	bob.Expect(keys(10)...)
	n.Revoke("ann", "s1")
	n.Exec(order, 11, nil, "s1", 1)
	n.Exec(order, 12, nil, "s2", 1)
	ann.Expect(keys(12)...)
	bob.Expect(keys(11)...)
	n.NotDelivered(testcontainers.Want{Key: "11"}, "ann")
	n.NotDelivered(testcontainers.Want{Key: "12"}, "bob")
}

func TestSubscribe_ToldOfRefusalsNoticesAndEnds(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	n.Grant("ann", "d1")
	ann := n.Airlay(t, "ann", "datasetUpdate/d1")
	n.Revoke("ann", "d1")
	ann.ExpectNotice(testcontainers.Containing(`{"status": 400, "code": 4}`))
	for user, s := range map[string]testcontainers.Subscription{
		"no permission":   {Protocol: testcontainers.Airlay, User: "ann", Topics: []string{"datasetUpdate/d1"}},
		"airlay, unknown": {Protocol: testcontainers.Airlay, User: "eve", Topics: []string{"notification"}},
		"ernius, unknown": {Protocol: testcontainers.Ernius, User: "eve"},
		"drp, unknown":    {Protocol: testcontainers.DRP, User: "eve", Topics: []string{"*.*.*"}},
		"sysadm, unknown": {Protocol: testcontainers.Sysadm, User: "eve", Topics: []string{"order"}},
		"sse, unknown":    {Protocol: testcontainers.SSE, User: "eve"},
		"no protocol":     {User: "ann"},
		"a wrong cursor":  {Protocol: testcontainers.SSE, User: "ann", Cursor: "x"},
	} {
		if one, err := n.Subscribe(t, s); err == nil {
			t.Errorf("%s: subscribed: %v", user, one)
		}
	}
	again, stream := n.Ernius(t, "ann"), n.SSE(t, "ann")
	n.Drop("ann")
	if end := again.ExpectEnd(); end.Code != 1000 || end.Reason != "close" {
		t.Errorf("dropped with %+v", end)
	}
	if end := stream.ExpectEnd(); end.Reason == "" {
		t.Errorf("dropped with %+v", end)
	}
}

func TestInstance_StopKillAndSeveral(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	second := n.Add(t)
	first, other := n.DRP(t, "ann", "order.*.*"), second.SSE(t, "ann", "order.*.*")
	url := n.URL()
	n.Restart()
	if end := first.ExpectEnd(); end.Code != 1012 {
		t.Errorf("restarted with %+v", end)
	}
	n.Kill()
	n.Exec(order, 10, "ann", nil, 1)
	other.Expect(keys(10)...)
	n.Start()
	if n.URL() != url {
		t.Errorf("at %s now, was at %s", n.URL(), url)
	}
	first.Resume()
	first.Expect(keys(10)...)
	second.Kill()
	n.Exec(order, 11, "ann", nil, 1)
	other.ResumeAt(n.Instance)
	other.Expect(keys(11)...)
	first.Expect(keys(11)...)
}

// fact waits for something that is about to be true.
func fact(t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-t.Context().Done():
			t.Fatalf("it did not come about: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// notReady waits until notifier itself says that it has lost its database.
func notReady(t *testing.T, n *testcontainers.Environment) {
	t.Helper()
	fact(t, "notifier is not ready", func() bool {
		answer, err := http.Get(n.URL() + "/readyz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	})
}

func TestFaults_NothingIsLostNorTwice(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, n *testcontainers.Environment, s *testcontainers.Subscriber) (mend func()){
		"no LISTEN connection": func(_ *testing.T, n *testcontainers.Environment, _ *testcontainers.Subscriber) func() {
			n.KillListeners()
			return func() {}
		},
		"database cut": func(t *testing.T, n *testcontainers.Environment, _ *testcontainers.Subscriber) func() {
			n.Database().Refuse()
			n.Database().Cut()
			notReady(t, n)
			return n.Database().Accept
		},
		"database silent": func(t *testing.T, n *testcontainers.Environment, _ *testcontainers.Subscriber) func() {
			t.Helper()
			n.Database().Stall()
			n.Exec(`SELECT notifier.publish('order', key => '13', recipient => 'bob')`) // rings: Postgres has something to say
			fact(t, "the network keeps something back", func() bool { return n.Database().Held() > 0 })
			return n.Database().Resume
		},
		"clients cut": func(_ *testing.T, n *testcontainers.Environment, s *testcontainers.Subscriber) func() {
			n.Network().Cut()
			s.ExpectEnd()
			return func() { s.Resume() }
		},
		"client stalled": func(_ *testing.T, _ *testcontainers.Environment, s *testcontainers.Subscriber) func() {
			s.Stall()
			return s.Unstall
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := shop.Start(t)
			n.User("ann")
			ann := n.SSE(t, "ann", "order.*.*")
			n.Exec(order, 10, "ann", nil, 1)
			ann.Expect(keys(10)...)
			mend := fault(t, n, ann)
			n.Exec(order, 11, "ann", nil, 1)
			mend()
			n.Exec(order, 12, "ann", nil, 1)
			ann.Expect(keys(11, 12)...)
		})
	}
}

func TestPostgres_CrashesAndComesBack(t *testing.T) {
	t.Parallel()
	n := shop.Start(t, testcontainers.OwnPostgres())
	n.User("ann")
	ann := n.Sysadm(t, "ann", "order")
	n.Exec(order, 10, "ann", nil, 1)
	ann.Expect(testcontainers.Want{Payload: testcontainers.Containing(`{"id": 10}`)})
	n.CrashPostgres()
	if err := n.Pool().Ping(t.Context()); err == nil {
		t.Error("Postgres answers after its crash")
	}
	notReady(t, n)
	n.RestartPostgres()
	n.Exec(order, 11, "ann", nil, 1)
	ann.Expect(testcontainers.Want{Payload: testcontainers.Containing(`{"id": 11}`)})
}

func TestStalledClient_HoldsNothingBack(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	slow, quick := n.DRP(t, "ann", "order.*.*"), n.DRP(t, "ann", "order.*.*")
	slow.Stall()
	n.Exec(`INSERT INTO orders SELECT g, 'ann' FROM generate_series(1001, 6000) g`)
	var all []int
	for id := 1001; id <= 6000; id++ {
		all = append(all, id)
	}
	quick.Expect(keys(all...)...)
	if n := len(slow.Events()); n > 0 {
		t.Errorf("a stalled client got %d events", n)
	}
	slow.Unstall()
	slow.Expect(keys(all...)...)
}

func TestStart_FromAPositionThatAPageHad(t *testing.T) {
	t.Parallel()
	n := shop.Start(t)
	n.User("ann")
	at := n.Position()
	n.Exec(order, 10, "ann", nil, 1)
	ann, err := n.Subscribe(t, testcontainers.Subscription{Protocol: testcontainers.SSE, User: "ann", Cursor: at})
	if err != nil {
		t.Fatal(err)
	}
	ann.Expect(keys(10)...)
}

func TestDatabases_AreEachTestsOwn(t *testing.T) {
	t.Parallel()
	a, b := shop.Start(t), shop.Start(t)
	a.Exec(order, 10, "ann", nil, 1)
	var there, seeded bool
	err := b.Pool().QueryRow(t.Context(), `SELECT bool_or(id = 10), bool_or(id = 1) FROM orders`).Scan(&there, &seeded)
	if err != nil || there || !seeded {
		t.Errorf("another's order %t, the template's %t, %v", there, seeded, err)
	}
	conn, err := pgx.Connect(t.Context(), b.DatabaseURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
}
