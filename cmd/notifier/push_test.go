package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/notifier/db/dbtest"
	"github.com/google/go-cmp/cmp"
)

// watching starts a watch and waits until it is connected.
func watching(t *testing.T, at, user string, args ...string) *process {
	t.Helper()
	w := start(t, []string{"NOTIFIER_URL=" + at}, append([]string{"watch", "--user", user}, args...)...)
	w.says(w.err, "watching")
	return w
}

func TestPushAndWatch_RoundTrip(t *testing.T) {
	t.Parallel()
	_, at := serving(t, dbtest.New(t))
	w := watching(t, at, "client1", "--since=-5")
	events := []string{
		`{"accessid":"client1","created_at":10,"payload":"client1 message"}`,
		`{"accessid":"client1","created_at":-5,"payload":{"b":1.0,"a":["<é>",null]}}`,
		`{"accessid":"client1","created_at":10,"payload":"client1 message"}`,
	}
	file := filepath.Join(t.TempDir(), "events.jsonl")
	others := `{"accessid":"client2","created_at":20,"payload":1}` + "\n" + `{"accessid":"client1","created_at":-6,"payload":"too old"}` + "\n"
	if err := os.WriteFile(file, []byte(others+strings.Join(events, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, err := run(t, nil, "push", "--url", at, "--file", file); code != 0 || !strings.Contains(err, "5 events are stored") {
		t.Fatalf("push: code %d, %s", code, err)
	}
	w.says(w.out, events[2]+"\n")
	if code, _, err := run(t, []string{"NOTIFIER_URL=" + at, "NOTIFIER_TO=client1"}, "push", "the", "end"); code != 0 {
		t.Fatalf("push: code %d, %s", code, err)
	}
	w.says(w.out, `"end"`)
	got := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if diff := cmp.Diff(events, got[:3]); diff != "" || len(got) != 5 {
		t.Errorf("watched %d lines (-want +got):\n%s", len(got), diff)
	}
	w.signal(syscall.SIGINT)
	if code := w.wait(); code != 0 {
		t.Errorf("watch: code %d after Ctrl-C, want 0", code)
	}
}

// TestPush_LivePipeAndManyLists pushes while the pipe stays open, then a lot.
func TestPush_LivePipeAndManyLists(t *testing.T) {
	t.Parallel()
	const many = 12_345
	_, at := serving(t, dbtest.New(t), "--outbox-events=100000")
	w := watching(t, at, "u", "--since=0")
	p := start(t, []string{"NOTIFIER_URL=" + at}, "push")
	line := func(n int) string { return fmt.Sprintf(`{"accessid":"u","created_at":1,"payload":%d}`, n) }
	fmt.Fprintln(p.in, line(0))
	w.says(w.out, line(0)+"\n")
	for n := 1; n < many; n++ {
		fmt.Fprintln(p.in, line(n))
	}
	p.in.Close()
	if code := p.wait(); code != 0 || !strings.Contains(p.err.String(), fmt.Sprint(many, " events are stored")) {
		t.Fatalf("push: code %d, %s", code, p.err)
	}
	if strings.Contains(p.err.String(), "pushing") {
		t.Errorf("a progress bar where there is no terminal: %s", p.err)
	}
	w.says(w.out, line(many-1)+"\n")
	got := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	if len(got) != many {
		t.Fatalf("watched %d lines, want %d", len(got), many)
	}
	for n := range got {
		if got[n] != line(n) {
			t.Fatalf("line %d is %s", n, got[n])
		}
	}
}

func TestPush_BadLineEndsItWithItsNumber(t *testing.T) {
	t.Parallel()
	_, at := serving(t, dbtest.New(t))
	p := start(t, nil, "push", "--url", at, "--file", "-")
	fmt.Fprint(p.in, `{"accessid":"u","created_at":1,"payload":1}`, "\n\n", `{"accessid":"u","created_at":1}`, "\n")
	p.in.Close()
	if code := p.wait(); code != exitBadInput || !strings.Contains(p.err.String(), "line 3: not an event: it lacks payload; ") {
		t.Errorf("code %d, %s", code, p.err)
	}
}

// TestPush_ServersNoNamesTheLines: what only the server can tell.
func TestPush_ServersNoNamesTheLines(t *testing.T) {
	t.Parallel()
	_, at := serving(t, dbtest.New(t))
	p := start(t, nil, "push", "--url", at)
	fmt.Fprintln(p.in, `{"accessid":"u\u0000","created_at":1,"payload":1}`)
	p.in.Close()
	if code := p.wait(); code != exitFailed || !strings.Contains(p.err.String(), "push lines 1 to 1: server answered 400") ||
		!strings.Contains(p.err.String(), "0 events are stored") {
		t.Errorf("code %d, %s", code, p.err)
	}
}

func TestPush_Usage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"text"}, {"--to", "u"}, {"--to", "u", "--file", "f", "text"}, {"--bogus"}} {
		if code, _, err := run(t, nil, append([]string{"push"}, args...)...); code != exitUsage {
			t.Errorf("push %v: code %d, %s", args, code, err)
		}
	}
	for _, args := range [][]string{{"--url=ftp://h"}, {"--file=/nonexistent"}, {"--retry-for=0"}} {
		if code, _, err := run(t, nil, append([]string{"push"}, args...)...); code != exitFailed {
			t.Errorf("push %v: code %d, %s", args, code, err)
		}
	}
}

// TestPush_SurvivesARestartOfTheServer: what was sent while there was no server
// is stored once when it is back.
func TestPush_SurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	server, at := serving(t, database)
	p := start(t, []string{"NOTIFIER_URL=" + at}, "push")
	send := func(n int) { fmt.Fprintf(p.in, `{"accessid":"u","created_at":1,"payload":%d}`+"\n", n) }
	conn := dbtest.Connect(t, database)
	stored := func() (n int) {
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM notifier.events").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	send(1)
	dbtest.Eventually(t, "the first is stored", func() bool { return stored() == 1 })
	server.signal(syscall.SIGTERM)
	server.wait()
	send(2)
	send(3)
	p.in.Close()
	serving(t, database, "--addr", strings.TrimPrefix(at, "http://"))
	if code := p.wait(); code != 0 {
		t.Errorf("code %d, %s", code, p.err)
	}
	if n := stored(); n != 3 {
		t.Errorf("%d events are stored, want 3", n)
	}
}

// TestWatch_SurvivesARestartOfTheServer: what happened while there was no
// server is shown when it is back, and nothing twice.
func TestWatch_SurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	conn := dbtest.Connect(t, database)
	publish := func(payload string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `SELECT notifier.publish('x', recipient => 'u', payload => to_json($1::text))`, payload); err != nil {
			t.Fatal(err)
		}
	}
	server, at := serving(t, database)
	w := watching(t, at, "u")
	publish("before")
	w.says(w.out, `"before"`)
	server.signal(syscall.SIGTERM)
	server.wait()
	publish("between")
	serving(t, database, "--addr", strings.TrimPrefix(at, "http://"))
	w.says(w.out, `"between"`)
	publish("after")
	w.says(w.out, `"after"`)
	if got := strings.Count(w.out.String(), "\n"); got != 3 {
		t.Errorf("%d lines, want 3:\n%s", got, w.out)
	}
}

func TestWatch_EndsWhenTheUserIsDropped(t *testing.T) {
	t.Parallel()
	database := dbtest.New(t)
	_, at := serving(t, database)
	conn := dbtest.Connect(t, database)
	w := watching(t, at, "u")
	dbtest.Eventually(t, "it ends", func() bool {
		if _, err := conn.Exec(t.Context(), `SELECT notifier.drop_user('u')`); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	})
	if code := w.wait(); code != exitFailed || !strings.Contains(w.err.String(), "the server dropped the user") {
		t.Errorf("code %d, %s", code, w.err)
	}
}

func TestWatch_FirstConnectionFailsFast(t *testing.T) {
	t.Parallel()
	code, _, err := run(t, nil, "watch", "--url", "http://127.0.0.1:1", "--user", "u")
	if code != exitFailed || !strings.Contains(err, "reach http://127.0.0.1:1: ") {
		t.Errorf("code %d, %s", code, err)
	}
}
