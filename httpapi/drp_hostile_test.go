package httpapi_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/notifier/httpapi"
)

// others checks that another client is served while something is done to the
// server.
func (s *system) others(d *directory, token string, during func()) {
	s.t.Helper()
	c := s.drp(token)
	c.do("register", "machines.save.other")
	e, message := machine("save", "other")
	done := make(chan struct{})
	go func() { // ends when it is done
		defer close(done)
		during()
	}()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		d.publish(s.t, e)
		c.expect(opText, message)
		select {
		case <-done:
			if n > 10 {
				return
			}
		case <-pace.C:
		}
	}
}

// heapInUse returns the bytes of live objects.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood has a client write commands until there are no more or it is cut off.
func (c *client) flood(commands int, command func(i int) string) (err error) {
	for i := 0; i < commands && err == nil; i++ {
		_, err = c.Write(masked(0x80|opText, command(i)))
	}
	return err
}

// Of 10^5 filters a client gets as many as it may have.
func TestDRPHostile_RegistersWithoutEnd(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	const most = 1000
	s := drpSystem(t, d, func(c *httpapi.Config) { c.MaxSubscriptions = most })
	c := s.drp(token(t, "alice", time.Hour, nil))
	s.others(d, token(t, "bob", time.Hour, nil), func() {
		go func() { // ends when it is cut off
			_ = c.flood(100_000, func(i int) string { return fmt.Sprintf("register machines.*.%d", i) })
		}()
		for n := 0; ; n++ {
			got, err := c.read()
			if err != nil {
				t.Errorf("after %d: %v", n, err)
				return
			}
			if got.op == opClose {
				if code, reason := closeParts(got.payload); code != 1008 || reason != "too many subscriptions on one connection" || n != most {
					t.Errorf("after %d: closed with %d %q", n, code, reason)
				}
				return
			}
		}
	})
}

// A client that never reads its acknowledgements is read from no faster than
// they are taken, and then ended.
func TestDRPHostile_ReadsNoAcknowledgement(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := drpSystem(t, d, smallBuffers, func(c *httpapi.Config) { c.WriteTimeout, c.CloseTimeout = time.Second, 50*time.Millisecond })
	c := s.dialNarrow(drpPath, bearer(token(t, "alice", time.Hour, nil)))
	s.others(d, token(t, "bob", time.Hour, nil), func() {
		if err := c.flood(1_000_000, func(int) string { return "register machines.*.1" }); err == nil {
			t.Error("a million commands were taken")
		}
	})
	until(t, "it is forgotten", func() bool { return len(s.hub.Users()) <= 1 })
}

// Long lists are entries in the index, each once, and count as such: never are
// they multiplied out.
func TestDRPHostile_LongLists(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := drpSystem(t, d, func(c *httpapi.Config) { c.MaxSubscriptions = 3500 })
	c := s.drp(token(t, "alice", time.Hour, nil))
	var list strings.Builder
	for i := range 1100 {
		fmt.Fprintf(&list, "%x,", i)
	}
	values := strings.TrimSuffix(list.String(), ",")
	filter := values + "." + values + "." + values
	s.others(d, token(t, "bob", time.Hour, nil), func() {
		for range 10 {
			c.do("register", filter)
			e, _ := machine("0", "1")
			e.Type = "44b" // 1099
			d.publish(t, e)
			got, err := c.read()
			if err != nil || !strings.Contains(got.payload, `"Type":"44b","Action":"0","Key":"1"`) {
				t.Errorf("%q, %v", short(got.payload), err)
				return
			}
			c.do("deregister", filter)
		}
		for i := range 3 {
			c.do("register", filter+fmt.Sprint(i))
		}
		c.text("register " + filter)
		if code, _ := c.expectClose(); code != 1008 {
			t.Errorf("closed with %d", code)
		}
	})
}

// What a connection can make the server hold is bounded, however it goes about
// it.
func TestDRPHostile_HoldsLittle(t *testing.T) {
	d := newDirectory("alice")
	s := drpSystem(t, d)
	good := token(t, "alice", time.Hour, nil)
	long := strings.Repeat("x", 60_000)
	for name, command := range map[string]func(i int) string{
		"long names":  func(i int) string { return fmt.Sprintf("register %d.*.%s", i, long) },
		"long blanks": func(i int) string { return "register" + strings.Repeat(" ", 60_000) + fmt.Sprintf("%d.*.*", i) },
		"long lists":  func(i int) string { return fmt.Sprintf("register %d.*.%s", i, strings.Repeat("x,y,", 15_000)) },
		"no filters":  func(i int) string { return fmt.Sprintf("register %d%s", i, long) },
	} {
		before := heapInUse()
		c := s.drp(good)
		for i := range 100 {
			c.text(command(i))
			got, err := c.read()
			if err != nil || got.op == opClose {
				break
			}
		}
		if grown := heapInUse() - before; grown > 4<<20 {
			t.Errorf("%s: %d bytes are held", name, grown)
		}
		_ = c.Close()
		until(t, "it is gone", func() bool { return len(s.hub.Users()) == 0 })
	}
}

func TestDRPHostile_Messages(t *testing.T) {
	t.Parallel()
	d := newDirectory("alice", "bob")
	s := drpSystem(t, d)
	good := token(t, "alice", time.Hour, nil)
	s.others(d, token(t, "bob", time.Hour, nil), func() {
		c := s.drp(good)
		_, _ = c.Write(masked(0x80|opText, "register *.*."+strings.Repeat("x", 1<<20))) // it may not take it all
		if code, _ := c.expectClose(); code != 1009 {
			t.Errorf("1 MB: closed with %d", code)
		}
		c = s.drp(good)
		for range 2000 {
			c.send(0x80|opBinary, "register *.*.*\x00\xff")
		}
		c.silent()
		c.do("register", "a.b.c")
		for range 20 {
			c = s.drp(good)
			_, _ = c.Write(masked(0x80|opText, "register machines.*.*")[:9])
			_ = c.Conn.(*net.TCPConn).SetLinger(0) // a reset, not an end
			_ = c.Close()
		}
	})
}
