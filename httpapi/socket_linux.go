package httpapi

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many of the bytes that the kernel took the peer's has
// not.
func unacknowledged(raw syscall.RawConn) (n int) {
	if raw == nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // of a closed one there are none
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n
}

// answers reports whether the peer's kernel answers what is sent to it, if only that
// it has no room. One packet may be on its way, or lost.
func answers(raw syscall.RawConn) (ok bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // a closed one does not
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		ok = err == nil && info.Probes <= 1 && info.Retransmits <= 1
	})
	return ok
}
