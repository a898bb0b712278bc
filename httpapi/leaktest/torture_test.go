package leaktest

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"github.com/jackc/pgx/v5"
)

// tortureTime is NOTIFIER_TORTURE, or in an ordinary run a little.
func tortureTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("NOTIFIER_TORTURE")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("NOTIFIER_TORTURE: %v", err)
	}
	return d
}

const (
	publishers = 4
	changers   = 3 // each has users of its own
	comers     = 3 // subscribers that come and go, for each instance
	sockets    = 3 // clients, for each instance
)

// TestTorture_NoLeak: access changes in every way there is, while events flow
// and users come and go on two instances, one of which reads in large batches.
// Afterwards the order of commits, as the database recorded it, tells who could
// read what.
func TestTorture_NoLeak(t *testing.T) {
	t.Parallel()
	cluster := dbtest.NewCluster(t, dbtest.Settings(map[string]string{"track_commit_timestamp": "on"}))
	url := cluster.URL("")
	over, stop := context.WithCancel(t.Context())
	defer stop()
	l := newLedger()
	w := &writers{ledger: l, over: over, state: map[bit]bool{}}
	admin := dbtest.Connect(t, url)
	if err := w.found(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	instances := []*instance{
		start(t, db.Config{URL: url}),
		start(t, db.Config{URL: url, PollOnly: true, PollInterval: 30 * time.Millisecond}),
	}
	var residents []*visit
	var all []*visitors
	var group sync.WaitGroup
	for _, i := range instances {
		residents = append(residents, i.settle(t)...)
		v := &visitors{instance: i, ledger: l, over: over}
		all = append(all, v)
		v.invite(t, &group)
	}
	w.hire(t, &group, url)

	<-time.After(tortureTime(t))
	stop()
	group.Wait()
	for _, i := range instances {
		i.passed(t, admin)
	}
	j := newJudge(readTruth(t, admin, l), instances...)
	for _, i := range instances {
		j.order(i)
	}
	for _, v := range residents {
		v.until = now()
		j.visit(v)
	}
	for _, v := range all {
		for _, one := range v.past {
			j.visit(one)
		}
		for _, one := range v.calls {
			j.call(one)
		}
		j.totals["batches"] += len(v.batches())
	}
	j.totals["events"], j.totals["transactions"] = len(j.events), len(l.commits)
	j.report(t)
}

// settle subscribes every user to everything for good.
func (i *instance) settle(t *testing.T) []*visit {
	var all []*visit
	for u := range users {
		user := userName(u)
		all = append(all, &visit{instance: i, inbox: i.watch(t, user, false), user: user, from: now()})
	}
	return all
}

// invite lets visitors come.
func (v *visitors) invite(t *testing.T, group *sync.WaitGroup) {
	for range comers {
		run(t, group, v.comeAndGo)
	}
	addr := v.serve(t)
	for range sockets {
		run(t, group, func(ctx context.Context) error { return v.call(ctx, addr) })
	}
}

// hire starts all who write.
func (w *writers) hire(t *testing.T, group *sync.WaitGroup, url string) {
	begin := func(do func(context.Context, *pgx.Conn) error) {
		conn := dbtest.Connect(t, url)
		run(t, group, func(ctx context.Context) error { return do(ctx, conn) })
	}
	for range publishers {
		begin(w.publishAll)
	}
	for c := range changers {
		var mine []string
		for u := c; u < users; u += changers {
			mine = append(mine, userName(u))
		}
		begin(func(ctx context.Context, conn *pgx.Conn) error { return w.changeAccess(ctx, conn, mine) })
	}
	begin(w.sweep)
	begin(w.rule)
}

// run has a goroutine do something and fails the test if it fails.
func run(t *testing.T, group *sync.WaitGroup, do func(context.Context) error) {
	group.Go(func() { // ends when the time is over
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
