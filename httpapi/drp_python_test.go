package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"
)

// overTLS runs a server behind TLS, as DRP's clients insist on.
func overTLS(t *testing.T, d *directory) *system {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	config := &tls.Config{Certificates: certified.TLS.Certificates}
	certified.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return setupOn(t, tls.NewListener(l, config), guarded(t, d, bySecret()))
}

// The client library that DRP's sample for Python uses, as Debian has it.
func TestDRP_PythonClient(t *testing.T) {
	t.Parallel()
	if out, err := osexec.CommandContext(t.Context(), "python3", "-c", "import websocket").CombinedOutput(); err != nil {
		t.Skipf("python3 with the module websocket (Debian's python3-websocket) is needed: %v %s", err, out)
	}
	d := newDirectory("alice")
	s := overTLS(t, d)
	filters := []string{"machines.save,last.*", "*.update.1"}
	python := osexec.CommandContext(t.Context(), "python3", append([]string{"testdata/drp_events.py"}, filters...)...)
	python.Env = append(os.Environ(), "ENDPOINT="+s.addr, "TOKEN="+token(t, "alice", time.Hour, nil))
	python.Stderr = os.Stderr
	output, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := python.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(output)
	next := func() string {
		if !said.Scan() {
			t.Errorf("it has ended: %v", said.Err())
		}
		return said.Text()
	}
	for _, filter := range filters {
		if got := next(); !strings.HasSuffix(got, `,"Type":"websocket","Action":"register","Key":"`+filter+`","Principal":"","Object":null,"Original":null}`) {
			t.Errorf("got %s", got)
		}
	}
	for _, action := range []string{"save", "update", "last"} {
		other, _ := machine("delete", "1")
		e, message := machine(action, "1")
		d.publish(t, other, e)
		if got := next(); got != message {
			t.Errorf("got %s, want %s", got, message)
		}
	}
	if err := python.Wait(); err != nil {
		t.Error(err)
	}
}
