//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// handshakeKey is what all clients send: nobody is to be kept apart by it.
	handshakeKey     = "bm90aWZpZXIgYmVuY2ggMQ=="
	handshakeGUID    = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
	handshakeTimeout = 30 * time.Second
)

// handshakeAnswer is what proves that a server speaks WebSocket.
func handshakeAnswer(key string) string {
	sum := sha1.Sum([]byte(key + handshakeGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// subscribe connects to a server and says hello to it. It returns a socket that
// nobody else looks after, not the runtime's poller either. buffer is the size of
// its receive buffer, 0 the system's.
func subscribe(ctx context.Context, address, path string, hello []byte, buffer int) (fd int, err error) {
	dialer := net.Dialer{Timeout: handshakeTimeout}
	if buffer > 0 {
		// Before connecting: made less later, the kernel throws away what it had
		// promised to take, and what is sent again comes ever more rarely.
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
			})
			return errors.Join(err, failed)
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp4", address)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return -1, fmt.Errorf("set deadline: %w", err)
	}
	if err := upgrade(conn, address, path); err != nil {
		return -1, fmt.Errorf("upgrade: %w", err)
	}
	if _, err := conn.Write(appendClient(nil, opText, hello)); err != nil {
		return -1, fmt.Errorf("say hello: %w", err)
	}
	return detach(conn.(*net.TCPConn))
}

func upgrade(conn net.Conn, address, path string) error {
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", path, address, handshakeKey)
	if err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(conn, 512)
	response, err := http.ReadResponse(buffered, nil)
	if err != nil {
		return err
	}
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols:
		why, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // only to explain
		return fmt.Errorf("server answered %s: %s", response.Status, why)
	case response.Header.Get("Sec-WebSocket-Accept") != handshakeAnswer(handshakeKey):
		return errors.New("server did not prove that it speaks WebSocket")
	case buffered.Buffered() > 0:
		return errors.New("server spoke before the client") // and we would lose what it said
	}
	return nil
}

// detach duplicates the connection's descriptor, so that closing the connection
// leaves the socket, non-blocking as it is.
func detach(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	err = raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("duplicate descriptor: %w", err)
	}
	return fd, nil
}
