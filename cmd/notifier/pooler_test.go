package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
)

// A server whose URL leads through a pooler in transaction mode, and that has a direct
// way for LISTEN, does all that it does otherwise: it migrates, delivers live by the
// doorbell, replays, pushes, makes users, drops them, and knows of other instances.
func TestServe_ThroughPgBouncer(t *testing.T) {
	t.Parallel()
	direct := dbtest.Empty(t)
	pooled := dbtest.Pooler(t, direct, 5) + "&default_query_exec_mode=exec"
	env := []string{"NOTIFIER_DATABASE_URL=" + pooled, "NOTIFIER_LISTEN_DATABASE_URL=" + direct}
	if code, _, err := run(t, env, "migrate", "up"); code != 0 {
		t.Fatalf("migrate: code %d, %s", code, err)
	}
	if code, out, err := run(t, env, "doctor", "--max-connections=10", "--max-requests=10"); code != 0 || strings.Contains(out, "warning") {
		t.Errorf("doctor: code %d, %s%s", code, out, err)
	}
	if code, _, err := run(t, env, "user", "add", "ann", "--no-password"); code != 0 {
		t.Errorf("user: code %d, %s", code, err)
	}
	// It would have to be polled for in an hour.
	args := []string{"--listen-database-url=" + direct, "--poll-interval=1h", "--admin-addr=127.0.0.1:0"}
	p, url := serving(t, pooled, args...)
	other, _ := serving(t, pooled, args...)
	watcher := start(t, nil, "watch", "--url", url, "--user", "ann")
	dbtest.Eventually(t, "the watcher is there", func() bool { return strings.Contains(text(t, url+"/clients"), "ann") })
	for n := range 20 {
		if code, _, err := run(t, nil, "push", "--url", "http://"+other.address(), "--to", "ann", fmt.Sprint("pushed ", n)); code != 0 {
			t.Fatalf("push: code %d, %s", code, err)
		}
	}
	conn := dbtest.Connect(t, pooled)
	if _, err := conn.Exec(t.Context(), `INSERT INTO notifier.events (type, recipient, payload) VALUES ('message', 'ann', '"by SQL"')`); err != nil {
		t.Fatal(err)
	}
	watcher.says(watcher.out, "by SQL")
	for n := range 20 {
		if !strings.Contains(watcher.out.String(), fmt.Sprintf("pushed %d\"", n)) {
			t.Errorf("push %d has not come", n)
		}
	}
	late := start(t, nil, "watch", "--url", url, "--user", "ann", "--since", "0")
	late.says(late.out, "pushed 19")
	dbtest.Eventually(t, "each knows of the other", func() bool {
		all := page(t, p.adminURL()+"/admin/clients")
		return strings.Count(all, `"error":""`) == 2 && strings.Count(all, `"user":"ann"`) == 2
	})
	for _, server := range []*process{p, other} {
		server.signal(syscall.SIGTERM)
		if code := server.wait(); code != 0 {
			t.Errorf("code %d", code)
		}
		if said := server.err.String(); strings.Contains(said, "level=ERROR") || strings.Contains(said, "level=WARN") {
			t.Errorf("%s", said)
		}
	}
}
