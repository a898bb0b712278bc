package dbtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Pooler starts a PgBouncer in transaction mode before a database, which ends with
// the test, and returns the URL that leads through it. It keeps as many sessions as
// sessions says. Where there is no PgBouncer, the test is skipped.
func Pooler(t testing.TB, targetURL string, sessions int) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("there is no pgbouncer")
	}
	u, err := url.Parse(targetURL)
	if err != nil {
		t.Fatalf("parse URL: %v", err)
	}
	host, port := u.Hostname(), u.Port()
	password, _ := u.User.Password()
	at := freePort(t)
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // a test cluster's
			t.Fatal(err)
		}
		return path
	}
	users := write("users.txt", fmt.Sprintf("%q %q\n", u.User.Username(), password))
	config := write("pgbouncer.ini", fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = plain
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_client_conn = 200
logfile =
pidfile =
server_round_robin = 1
`, host, port, at, users, sessions))
	command := exec.Command(binary, "-q", config)
	command.SysProcAttr = asNobody(t, folder)
	log := &logged{}
	command.Stderr, command.Stdout = log, log
	if err := command.Start(); err != nil {
		t.Fatalf("start pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGQUIT)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("pgbouncer: %s", log)
		}
	})
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(at))
	Eventually(t, "pgbouncer listens", func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	u.Host = address
	query := u.Query()
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String()
}
