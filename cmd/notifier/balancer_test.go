package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// balancerConfig has two ways to the same servers, each on a socket that is handed
// over. They differ in what becomes of the connections to a server that does not
// answer the check any more: the first ends them, the other leaves them alone.
const balancerConfig = `global
    maxconn 2000
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 1s
    option redispatch 1
    retries 3
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 100ms fall 2 rise 1 send-proxy-v2
listen moving
    bind fd@3
    default-server on-marked-down shutdown-sessions
%[1]s
listen staying
    bind fd@4
%[1]s
`

// balancer is an HAProxy that passes TCP connections on to servers.
type balancer struct {
	moving  string // its clients are cut off when their server does not answer
	staying string // its clients stay with their server as long as its sockets are open
}

// newBalancer starts one before servers, which need not be there yet. It ends with
// the test.
func newBalancer(t *testing.T, addresses []string) *balancer {
	t.Helper()
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("there is no haproxy")
	}
	var servers strings.Builder
	for n, address := range addresses {
		fmt.Fprintf(&servers, "    server s%d %s\n", n, address)
	}
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, balancerConfig, servers.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sh", "-c", `"$@" & read -r _; kill -9 $!; wait`, "sh", binary, "-db", "-f", config)
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // HAProxy has it then
		socket, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		command.ExtraFiles = append(command.ExtraFiles, socket)
		urls = append(urls, "http://"+l.Addr().String())
	}
	said := &bytes.Buffer{}
	command.Stdout, command.Stderr = said, said
	life, err := command.StdinPipe() // closed also when this process is killed
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = command.Wait() // it was killed
		if t.Failed() {
			t.Logf("haproxy: %s", said)
		}
	})
	return &balancer{moving: urls[0], staying: urls[1]}
}
