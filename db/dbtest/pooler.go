package dbtest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// poolerConfig takes the server's host and port, whom to log in as, where to listen,
// and how many sessions to keep. Sessions are used in turn, which is what a client
// that relies on one will notice.
const poolerConfig = `[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
unix_socket_dir =
auth_type = any
pool_mode = transaction
server_round_robin = 1
max_client_conn = 200
listen_port = %[5]d
default_pool_size = %[6]d
`

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
	password, _ := u.User.Password()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	address := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	text := fmt.Sprintf(poolerConfig, u.Hostname(), u.Port(), u.User.Username(), password, address.Port, sessions)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("configure pgbouncer: %v", err)
	}
	args := []string{"-c", `"$@" & read -r _; kill -9 $!; wait`, "sh", binary, "-q"}
	if os.Geteuid() == 0 { // it refuses to be root
		args = append(args, "-u", "nobody")
	}
	command := exec.Command("sh", append(args, config)...)
	said := &bytes.Buffer{}
	command.Stdout, command.Stderr = said, said
	life, err := command.StdinPipe() // closed also when this process is killed
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = command.Wait() // it was killed
		if t.Failed() {
			t.Logf("pgbouncer: %s", said)
		}
	})
	Eventually(t, "pgbouncer listens", func() bool {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address.String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	u.Host = address.String()
	query := u.Query()
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String()
}
