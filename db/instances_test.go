package db_test

import (
	"context"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/notifier"
)

// An instance is listed as long as it says that it runs, and then no longer; one that
// ended without a word is forgotten by retention.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	at := dbtest.New(t)
	conn := dbtest.Connect(t, at)
	d := open(t, db.Config{URL: at, PollOnly: true})
	l := follow(t, d)
	self := notifier.Instance{
		ID: "11111111-2222-4333-8444-555555555555", Name: "here:1", Version: "v1", StartedAt: time.Now().Truncate(time.Microsecond), AdminURL: "http://127.0.0.1:9090",
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Announce(ctx, self, l.Point) }() // ends with ctx
	var listed notifier.Instance
	dbtest.Eventually(t, "it is listed", func() bool {
		all, err := d.Instances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 {
			listed = all[0]
		}
		return len(all) == 1 && listed.Feed == notifier.FeedPolling
	})
	if listed.ID != self.ID || listed.Name != self.Name || listed.Version != self.Version || listed.AdminURL != self.AdminURL ||
		!listed.StartedAt.Equal(self.StartedAt) || listed.Position == "" || time.Since(listed.SeenAt) > time.Minute {
		t.Errorf("%+v", listed)
	}
	exec(t, conn, `INSERT INTO notifier.instances (id, name, version, started_at, seen_at, feed)
		SELECT gen_random_uuid(), i, 'v', now(), now() - i * interval '1 minute', 'broken' FROM generate_series(4, 6) i`)
	retain(t, d)
	if n := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.instances`); n != 2 {
		t.Errorf("%d instances are left", n)
	}
	exec(t, conn, `UPDATE notifier.instances SET started_at = 'infinity', name = repeat('x', 100000) WHERE id <> $1`, self.ID)
	all, err := d.Instances(t.Context())
	if err != nil || len(all) != 2 || len(all[1].Name) > 1000 || all[1].StartedAt.Year() > 9999 {
		t.Errorf("with one that is out of bounds: %+v, %v", all, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := scalar[int](t, conn, `SELECT count(*)::int FROM notifier.instances WHERE id = $1`, self.ID); n != 0 {
		t.Error("it is still listed")
	}
}
