//go:build !windows

package embedded_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/embedded"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func ownerOf(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}

// asOwnerOf makes a command run as the user whose folder it is.
func asOwnerOf(t *testing.T, cmd *exec.Cmd, path string) {
	t.Helper()
	if uid, gid := ownerOf(t, path); int(uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		cmd.Dir = "/"
	}
}

func chownLike(t *testing.T, path, like string) {
	t.Helper()
	uid, gid := ownerOf(t, like)
	if err := os.Chown(path, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become other users")
	}
}

func TestStart_RootLendsTheClusterToAnotherUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := clusterDir(t)
	s := start(t, config(dir))
	if uid, _ := ownerOf(t, filepath.Join(dir, "data")); uid == 0 {
		t.Error("the data folder is root's")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc here")
	}
	var running string
	conn := connect(t, s.URL(""))
	if err := conn.QueryRow(t.Context(), "SELECT pg_read_file('/proc/self/status')").Scan(&running); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(running, "Uid:\t0\t") {
		t.Errorf("the server runs as root:\n%s", running)
	}
}

func TestStart_RootIsToldWhichFolderIsClosed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	parent := clusterDir(t)
	if err := os.Mkdir(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(t.Context(), config(filepath.Join(parent, "below")))
	if err == nil || !strings.Contains(err.Error(), "may not pass through") || !strings.Contains(err.Error(), parent) {
		t.Errorf("got %v", err)
	}
}

// forNormalUser are the tests whose outcome depends on who runs them.
const forNormalUser = "DataSurvive|TakesOver|KilledWhileStarting|ServerOfAnother|StalePidFile"

// TestAsNormalUser runs them once more as an unprivileged user.
func TestAsNormalUser(t *testing.T) {
	needRoot(t)
	if testing.Short() {
		t.Skip("runs the others again")
	}
	const uid = 65534
	home := filepath.Dir(clusterDir(t))
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(home, "embedded.test") // the original lies in a folder of root's
	copyFile(t, os.Args[0], binary)
	cmd := exec.CommandContext(t.Context(), binary, "-test.short", "-test.v", "-test.run="+forNormalUser, "-test.timeout=5m")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as user %d: %v\n%s", uid, err, out)
	}
	if passed := strings.Count(string(out), "--- PASS"); passed < 5 {
		t.Errorf("only %d tests passed as user %d:\n%s", passed, uid, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
