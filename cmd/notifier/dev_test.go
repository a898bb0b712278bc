package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/db/embedded"
	"example.com/notifier/httpapi/client"
	"github.com/jackc/pgx/v5"
)

// devFolder is a folder that the cluster's user can reach, which t.TempDir is
// not when root runs the tests. A cluster left in it ends with the test.
func devFolder(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "notifier-dev-test-")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(parent, "data")
	if err := os.Chmod(parent, 0o755); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := embedded.Remove(ctx, folder); err != nil {
			t.Errorf("remove the cluster: %v", err)
		}
		_ = os.RemoveAll(parent)
	})
	return folder
}

// dev starts `notifier dev` and returns it with the URLs it names.
func dev(t *testing.T, folder string, args ...string) (p *process, at, database string) {
	t.Helper()
	p = start(t, []string{"NOTIFIER_ADDR=127.0.0.1:0", "NOTIFIER_POSTGRES_PORT=0"}, append([]string{"dev", "--data", folder}, args...)...)
	p.says(p.out, "--user dave\n\n")
	return p, "http://" + p.address(), regexp.MustCompile(`postgres://\S+`).FindString(p.out.String())
}

// TestDev_KilledLosesNoCommittedEvent kills notifier in the middle of commits,
// again and again. The next one must take the data over, and a subscriber get
// everything that was committed.
func TestDev_KilledLosesNoCommittedEvent(t *testing.T) {
	t.Parallel()
	folder := devFolder(t)
	committed := 0
	for range 2 {
		p, _, database := dev(t, folder)
		enough := make(chan int, 1)
		conn, err := pgx.Connect(t.Context(), database)
		if err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the connection
			n := committed
			for {
				if _, err := conn.Exec(t.Context(), `INSERT INTO demo.issues (dataset_id, title, assignee) VALUES ('tides', $1, 'u')`, strconv.Itoa(n)); err != nil {
					enough <- n
					return
				}
				n++
				if n == committed+100 {
					p.command.Process.Kill()
				}
				if n == committed+200 { // Postgres outlives it
					enough <- n
					return
				}
			}
		}()
		committed = <-enough
		conn.Close(t.Context())
		<-p.ended
	}
	p, at, _ := dev(t, folder)
	expectIssues(t, at, committed)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("code %d, want 0", code)
	}
}

// expectIssues reads the user's events until each of the issues has come once.
func expectIssues(t *testing.T, at string, issues int) {
	t.Helper()
	c, err := client.New(at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.Subscribe(t.Context(), "u", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	next := 0
	for next < issues {
		events, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("after %d of %d issues: %v", next, issues, err)
		}
		for _, e := range events {
			if want := fmt.Sprintf(`"title" : "%d"`, next); !strings.Contains(string(e.Payload), want) {
				t.Fatalf("got %s, want %s", e.Payload, want)
			}
			next++
		}
	}
}

// TestDev_BringsPostgresBack: killed under it, Postgres is started again, and
// watchers see what happens then.
func TestDev_BringsPostgresBack(t *testing.T) {
	t.Parallel()
	p, at, database := dev(t, devFolder(t))
	w := watching(t, at, "u")
	_, pid, found := strings.Cut(p.err.String(), "pid=")
	pid, _, _ = strings.Cut(pid, "\n")
	postmaster, err := strconv.Atoi(pid)
	if !found || err != nil {
		t.Fatalf("no pid in the log: %v", err)
	}
	if err := syscall.Kill(postmaster, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.says(p.err, "starting it again")
	dbtest.Eventually(t, "an issue is taken", func() bool {
		conn, err := pgx.Connect(t.Context(), database)
		if err != nil {
			return false
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), `INSERT INTO demo.issues (dataset_id, title, assignee) VALUES ('tides', 'back', 'u')`)
		return err == nil
	})
	w.says(w.out, `"back"`)
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 0 {
		t.Errorf("code %d, want 0", code)
	}
}

func TestDev_RefusesAFolderInUse(t *testing.T) {
	t.Parallel()
	folder := devFolder(t)
	dev(t, folder)
	code, _, err := run(t, nil, "dev", "--data", folder, "--addr=127.0.0.1:0", "--postgres-port=0")
	if code != exitFailed || !strings.Contains(err, "in use") {
		t.Errorf("code %d, %s", code, err)
	}
}

func TestDev_TakesAnotherPortIfPostgresIsTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	p, _, database := dev(t, devFolder(t), "--postgres-port="+port)
	if strings.Contains(database, ":"+port+"/") || !strings.Contains(p.err.String(), "the port for Postgres is taken") {
		t.Errorf("database %s, log %s", database, p.err)
	}
	dbtest.Connect(t, database)
}
