//go:build !windows

package embedded_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/embedded"
)

// owner is another process of this test binary, which owns a cluster.
type owner struct {
	cmd       *exec.Cmd
	serverPID int
	url       string
}

// startOwner returns when the other process has its cluster running.
func startOwner(t *testing.T, dir string) *owner {
	t.Helper()
	o := &owner{cmd: exec.Command(os.Args[0])}
	o.cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
	o.cmd.Stderr = os.Stderr
	stdin, err := o.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = o.cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the owner did not start: %v", err)
	}
	if _, err := fmt.Sscan(line, &o.serverPID, &o.url); err != nil {
		t.Fatalf("the owner said %q: %v", line, err)
	}
	return o
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = o.cmd.Wait()
}

// Regression for "kill -9 in the middle": the server outlives its owner; the next start takes its data over.
func TestStart_TakesOverFromAKilledOwner(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	o := startOwner(t, dir)
	if _, err := embedded.Start(t.Context(), config(dir)); !errors.Is(err, embedded.ErrInUse) {
		t.Fatalf("while the owner lives: %v", err)
	}
	session := connect(t, o.url) // and somebody is still connected to it
	write(t, o.url)
	o.kill(t)
	if _, err := session.Exec(t.Context(), "INSERT INTO kept VALUES (2)"); err != nil {
		t.Fatalf("the server did not outlive its owner: %v", err)
	}
	s := start(t, config(dir))
	if got := read(t, s.URL("")); got != 2 {
		t.Errorf("rows after the take-over: %d, want 2", got)
	}
	if s.PID() == o.serverPID {
		t.Error("the old server is still the one")
	}
	if err := syscall.Kill(o.serverPID, 0); !errors.Is(err, syscall.ESRCH) && !isZombie(o.serverPID) {
		t.Errorf("the old server still runs: %v", err)
	}
}

// isZombie tells an ended process nobody waited for: containers often have no init that does.
func isZombie(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// Killed at any moment of its start, an owner leaves a folder that starts.
func TestStart_AfterAnOwnerKilledWhileStarting(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	for _, moment := range []string{"data.new-*/base", "data/PG_VERSION", "data/postmaster.pid"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
		stdin, err := cmd.StdinPipe() // open: it stays until it is killed
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t.Context(), filepath.Join(dir, moment))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		stdin.Close()
	}
	write(t, start(t, config(dir)).URL(""))
}

func TestRemove_StopsAnOrphanAndItsData(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	o := startOwner(t, dir)
	o.kill(t)
	if err := embedded.Remove(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	eventually(t, "the server is gone", func() bool {
		return errors.Is(syscall.Kill(o.serverPID, 0), syscall.ESRCH) || isZombie(o.serverPID)
	})
}

// A server that somebody started by hand in our data folder is theirs.
func TestStart_ServerOfAnotherIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := start(t, config(dir))
	write(t, s.URL(""))
	url := s.URL("")
	stop(t, s)

	port := url[strings.LastIndex(url, ":")+1:]
	port, _, _ = strings.Cut(port, "/")
	cmd := exec.Command(s.Bin("postgres"), "-D", filepath.Join(dir, "data"), "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	asOwnerOf(t, cmd, filepath.Join(dir, "data"))
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Signal(os.Interrupt) }()
	pid := filepath.Join(dir, "data", "postmaster.pid")
	eventually(t, "the foreign server is ready", func() bool {
		text, _ := os.ReadFile(pid)
		return strings.Contains(string(text), "ready")
	})

	_, err := embedded.Start(t.Context(), config(dir))
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), "did not start") {
		t.Errorf("got %v", err)
	}
	if got := read(t, url); got != 1 {
		t.Errorf("rows in the foreign server: %d, want 1", got)
	}
}

// After a reboot the process id of the old server may be anybody's.
func TestStart_StalePidFileNamingAnotherProgram(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := start(t, config(dir))
	write(t, s.URL(""))
	stop(t, s)
	other := exec.Command("cat") // runs until its input ends
	asOwnerOf(t, other, filepath.Join(dir, "data"))
	input, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); _ = other.Wait() }()
	stale := fmt.Sprintf("%d\n%s\n%d\n5432\n\n127.0.0.1\n  0  0\nready   \n", other.Process.Pid, filepath.Join(dir, "data"), time.Now().Unix())
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	overwrite(t, pidFile, stale)
	chownLike(t, pidFile, filepath.Join(dir, "data"))
	if got := read(t, start(t, config(dir)).URL("")); got != 1 {
		t.Errorf("rows: %d, want 1", got)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program was harmed: %v", err)
	}
}
