package httpapi_test

import (
	"bufio"
	"os"
	osexec "os/exec"
	"testing"
)

// The library that sysadm's clients for node use, in their own order. NODE_PATH
// says where the module ws is, if node does not find it by itself.
func TestSysadm_NodeClient(t *testing.T) {
	t.Parallel()
	if out, err := osexec.CommandContext(t.Context(), "node", "-e", "require('ws')").CombinedOutput(); err != nil {
		t.Skipf("node with the module ws is needed: %v %.200s", err, out)
	}
	d := newDirectory(sysadmUser)
	d.setAccount(sysadmUser, account(t))
	s := overTLS(t, d)
	node := osexec.CommandContext(t.Context(), "node", "testdata/sysadm_client.js", "wss://"+s.addr, sysadmUser, rightPassword)
	node.Stderr = os.Stderr
	output, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(output)
	expect := func(want string) {
		t.Helper()
		if !said.Scan() || said.Text() != want {
			t.Errorf("got %q (%v), want %q", said.Text(), said.Err(), want)
		}
	}
	expect(`{"args":{"subscribe":"life-preserver"},"id":"fooid","name":"response","namespace":"events"}`)
	const args = `{"class":"replication","message":"ü","priority":"6 - Critical"}`
	d.publish(t, ofType("life-preserver", args))
	expect(sysadmMessage("life-preserver", args))
	if err := node.Wait(); err != nil {
		t.Error(err)
	}
}
