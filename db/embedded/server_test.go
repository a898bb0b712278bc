package embedded_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/notifier/db/embedded"
)

func TestServer_DataSurviveStopAndStart(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	first := start(t, config(dir))
	write(t, first.URL(""))
	ended := first.Done()
	stop(t, first)
	<-ended
	stop(t, first) // again: nothing to do
	if got := read(t, start(t, config(dir)).URL("")); got != 1 {
		t.Errorf("rows after a new start: %d, want 1", got)
	}
}

func TestServer_CrashedAndRestartedKeepsPortAndCommittedRows(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	c.Durable = true
	s := start(t, c)
	url := s.URL("")
	write(t, url)
	ended := s.Done()
	if err := s.Crash(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.URL("") != url {
		t.Errorf("URL after restart %s, before %s", s.URL(""), url)
	}
	if got := read(t, url); got != 1 {
		t.Errorf("rows after a crash: %d, want 1", got)
	}
	if err := s.Restart(t.Context()); err != nil { // a running one
		t.Fatal(err)
	}
	if got := read(t, url); got != 1 {
		t.Errorf("rows after a restart: %d, want 1", got)
	}
}

func TestServer_WantsThePassword(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	c.User, c.Password, c.Database = "us er", "pa'ss/@word", `my "db"`
	s := start(t, c)
	write(t, s.URL(""))
	wrong, err := pgx.ParseConfig(s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	wrong.Password = "wrong"
	_, err = pgx.ConnectConfig(t.Context(), wrong)
	if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "28P01" {
		t.Errorf("with a wrong password: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(c.Dir, "password-*"))
	if len(left) > 0 {
		t.Errorf("password files left: %v", left)
	}
}

// A path may be odd, and longer than a Unix socket's may be.
func TestServer_OddPaths(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows forbids these characters")
	}
	long := strings.Repeat("long", 40)
	dir := filepath.Join(clusterDir(t), `it's a "cluster" [a] \ $HOME;é`, long)
	s := start(t, config(dir))
	write(t, s.URL(""))
	stop(t, s)
	if got := read(t, start(t, config(dir)).URL("")); got != 1 {
		t.Errorf("rows: %d, want 1", got)
	}
}

func TestServer_SettingsReachTheServer(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	c.Settings = map[string]string{"max_connections": "17", "fsync": "on", "application_name": "a 'quoted' name"}
	s := start(t, c)
	conn := connect(t, s.URL(""))
	for name, want := range map[string]string{"max_connections": "17", "fsync": "on", "synchronous_commit": "off", "listen_addresses": "127.0.0.1"} {
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestStart_QuotesTheServersLog(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	c.Settings = map[string]string{"shared_buffers": "much"}
	_, err := embedded.Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("error does not quote the log: %v", err)
	}
	c.Settings = nil
	start(t, c) // the failure left nothing that is in the way
}

func TestStart_PortTakenByAnother(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := config(clusterDir(t))
	c.Port = l.Addr().(*net.TCPAddr).Port
	_, err = embedded.Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("error does not name the cause: %v", err)
	}
}

func TestStart_ReportsAllProblemsOfTheConfig(t *testing.T) {
	t.Parallel()
	_, err := embedded.Start(t.Context(), embedded.Config{Port: 70000})
	if err == nil || !strings.Contains(err.Error(), "Dir is empty") || !strings.Contains(err.Error(), "70000") {
		t.Errorf("got %v", err)
	}
}

// Whenever a start is interrupted, the folder must be usable and no server may be left.
func TestStart_Cancelled(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	cause := errors.New("enough")
	for _, moment := range []string{"data.new-*", "data", "postgres.log"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		watched := make(chan struct{})
		go func() { // ends when the file is there or the start is over; awaited below
			defer close(watched)
			await(ctx, filepath.Join(c.Dir, moment))
			cancel(cause)
		}()
		s, err := embedded.Start(ctx, c)
		cancel(nil)
		<-watched
		if err == nil { // it was quicker than we
			stop(t, s)
		} else if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled when %s was there: %v", moment, err)
		}
	}
	write(t, start(t, c).URL(""))
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "data.new-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// await returns when something matches a pattern, or at the end of ctx.
func await(ctx context.Context, pattern string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if matches, _ := filepath.Glob(pattern); len(matches) > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func TestStart_NotReadyInTime(t *testing.T) {
	t.Parallel()
	c := config(clusterDir(t))
	s := start(t, c)
	stop(t, s)
	c.StartTimeout = time.Nanosecond
	if _, err := embedded.Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "not ready after 1ns") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "data", "postmaster.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a server was left behind: %v", err)
	}
}

// A stop that may not take its time still ends the server.
func TestServer_StopInAHurry(t *testing.T) {
	t.Parallel()
	s := start(t, config(clusterDir(t)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.Stop(ctx) // an error, or the server was quicker
	<-s.Done()
	if err := s.Restart(t.Context()); err == nil {
		t.Error("a stopped server was restarted")
	}
}

// A postmaster that is killed leaves its sessions behind; one that is busy does
// not notice at once, and holds the memory that the next server needs.
func TestServer_RestartWaitsForSessionsOfAKilledServer(t *testing.T) {
	t.Parallel()
	s := start(t, config(clusterDir(t)))
	busy := connect(t, s.URL("")).PgConn()
	query := busy.Exec(t.Context(), `SELECT count(*) FROM generate_series(1, 5000000)`) // sent, and being answered
	ended := s.Done()
	process, err := os.FindProcess(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _ = query.ReadAll() // it may have been answered or cut off
	write(t, s.URL(""))
}
