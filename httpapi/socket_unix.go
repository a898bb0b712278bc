//go:build unix

package httpapi

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns access to the descriptor of a plain socket, nil if there is
// none, as of TLS or of a pipe in a test.
func rawConn(c net.Conn) syscall.RawConn {
	plain, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeFD writes once without waiting and returns how many bytes were taken;
// none is no error.
func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}

// readFD and peekFD read what has arrived, without waiting; peekFD leaves it
// there.
func readFD(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

func peekFD(fd uintptr, p []byte) (int, error) {
	for {
		n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
