//go:build !unix

package httpapi

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: here every socket is written by a goroutine.
func rawConn(net.Conn) syscall.RawConn { return nil }

func writeFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func readFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func peekFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
