package httpapi_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// A message that is too long ends its connection, and no other; one as long as
// is allowed is read like any other.
func TestSysadmHostile_LongMessages(t *testing.T) {
	t.Parallel()
	s := sysadmSystem(t, newDirectory(sysadmUser))
	other := s.sysadm(sysadmUser)
	long := func(n int) string {
		const head, tail = `{"namespace":"events","name":"subscribe","id":"a","args":["`, `"]}`
		return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
	}
	c := s.sysadm(sysadmUser)
	c.ask(long(64<<10), `{"args":{},"id":"a","name":"response","namespace":"events"}`)
	go func() { _, _ = c.Write(masked(0x80|opText, long(1<<20))) }() // ends with the connection: the server does not read it all
	if code, _ := c.expectClose(); code != 1009 {
		t.Errorf("closed with %d", code)
	}
	other.quiet()
}

// Very many requests in a row, each for a type of its own, are all
// answered and no more is kept of them than a connection may have. Others are
// served meanwhile.
func TestTortureSysadm_SubscribesWithoutEnd(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d, func(c *httpapi.Config) {
		c.SysadmTypes, c.MaxSubscriptions, c.MaxCommands = []string{"*"}, 100, httpapi.Unlimited
	})
	other := s.sysadm(sysadmUser)
	other.subscribe("dispatcher")
	c := s.sysadm(sysadmUser)
	requests := 10_000
	if os.Getenv("NOTIFIER_TORTURE") != "" {
		requests = 100_000
		_ = c.SetDeadline(time.Now().Add(10 * patience))
		_ = other.SetDeadline(time.Now().Add(10 * patience))
	}
	go func() { // ends when all are sent, or with the connection
		for i := range requests {
			if _, err := c.Write(masked(0x80|opText, fmt.Sprintf(`{"args":"t%d","id":"a","name":"subscribe","namespace":"events"}`, i))); err != nil {
				return
			}
		}
	}()
	for i := range requests {
		answer := fmt.Sprintf(sysadmBadRequest, "a")
		if i < 100 {
			answer = fmt.Sprintf(`{"args":{"subscribe":"t%d"},"id":"a","name":"response","namespace":"events"}`, i)
		}
		c.expect(opText, answer)
	}
	d.publish(t, ofType("dispatcher", "1"), ofType("t99", "1"), ofType("t100", "1"))
	other.expect(opText, sysadmMessage("dispatcher", "1"))
	c.expect(opText, sysadmMessage("t99", "1"))
	c.quiet()
}

// A list of more types than a connection may have is refused as a whole.
func TestSysadmHostile_AListWithoutEnd(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d, func(c *httpapi.Config) { c.SysadmTypes, c.MaxSubscriptions = []string{"*"}, 100 })
	c := s.sysadm(sysadmUser)
	list := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"t%d"`, i)
		}
		return `{"args":[` + strings.Join(names, ",") + `],"id":"a","name":"subscribe","namespace":"events"}`
	}
	c.ask(list(5000), fmt.Sprintf(sysadmBadRequest, "a"))
	d.publish(t, ofType("t0", "1"))
	c.ask(list(100), `{"args":{"subscribe":"t99"},"id":"a","name":"response","namespace":"events"}`)
	c.ask(list(100), `{"args":{"subscribe":"t99"},"id":"a","name":"response","namespace":"events"}`)
	d.publish(t, ofType("t0", "2"))
	c.expect(opText, sysadmMessage("t0", "2"))
	c.quiet()
}

// Who asks for the newest event again and again, and reads nothing, does not have
// it pile up: the next is looked for when the one before is taken. It gets all
// answers when it reads at last.
func TestSysadmHostile_NewestEventsUnread(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d)
	payload := `"` + strings.Repeat("x", 1_000_000) + `"`
	d.publish(t, ofType("system-state", payload))
	c := s.sysadm(sysadmUser)
	const requests = 40
	for range requests {
		c.text(`{"args":"system-state","id":"a","name":"subscribe","namespace":"events"}`)
	}
	const inKernel = 8 // what the two sockets may hold
	for i := range int64(requests) {
		c.expect(opText, sysadmMessage("system-state", payload))
		c.expect(opText, `{"args":{"subscribe":"system-state"},"id":"a","name":"response","namespace":"events"}`)
		if looks := d.looks.Load(); looks > i+inKernel {
			t.Fatalf("%d were looked for when %d were taken", looks, i+1)
		}
	}
}

// One that never reads is given up, while it is owed a newest event too.
func TestSysadmHostile_NewestEventNeverRead(t *testing.T) {
	t.Parallel()
	d := newDirectory(sysadmUser)
	s := sysadmSystem(t, d, smallBuffers, func(c *httpapi.Config) {
		c.WriteTimeout, c.CloseTimeout = 100*time.Millisecond, 50*time.Millisecond
	})
	d.publish(t, ofType("system-state", `"`+strings.Repeat("x", 1_000_000)+`"`))
	c := s.sysadm(sysadmUser)
	for range 20 {
		_, _ = c.Write(masked(0x80|opText, `{"args":"system-state","id":"a","name":"subscribe","namespace":"events"}`))
	}
	until(t, "it is known", func() bool { return len(s.hub.Users()) == 1 })
	until(t, "it is forgotten", func() bool { return len(s.hub.Users()) == 0 })
}

// Half a frame and gone, with a subscription: nothing stays.
func TestSysadmHostile_HalfAFrame(t *testing.T) {
	t.Parallel()
	s := sysadmSystem(t, newDirectory(sysadmUser))
	for range 20 {
		c := s.sysadm(sysadmUser)
		c.subscribe("dispatcher")
		_, _ = c.Write(masked(0x80|opText, `{"namespace":"events"}`)[:12])
		_ = c.Conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
		_ = c.Close()
	}
	until(t, "all are forgotten", func() bool { return len(s.hub.Users()) == 0 })
}
