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
