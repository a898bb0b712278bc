//go:build linux

package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The limit program is as little of a server as can be: it upgrades
// connections, reads what clients say and forgets it, a goroutine each, and
// when told to, writes ready-made frames to all of them. It is told by lines on
// its standard input, and answers each by a line:
//
//	single CLIENTS ACCESSID FIRST COUNT 0	each frame to every client, one after the other
//	flat CLIENTS ACCESSID FIRST COUNT BYTES	all frames to every client as it takes them, up to so many bytes a write
//
// with the number of clients there must be, and of the first event. It ends with
// its standard input.
type limitProgram struct {
	mu    sync.Mutex
	conns []net.Conn
	fds   []int
	wg    sync.WaitGroup
}

func runLimit(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintln(out, listener.Addr())
	p := &limitProgram{}
	p.wg.Go(func() { p.accept(listener) }) // ends with the listener
	err = p.obey(in, out)
	listener.Close()
	p.closeAll()
	p.wg.Wait()
	return err
}

func (p *limitProgram) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { // ends with the handshake
			if p.welcome(conn) != nil {
				conn.Close()
				return
			}
			// On a stack of its own, which has not grown.
			p.wg.Go(func() { p.ignore(conn) }) // ends with the connection
		})
	}
}

// welcome upgrades a connection. It is known before the client learns that.
func (p *limitProgram) welcome(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	request, err := http.ReadRequest(bufio.NewReaderSize(conn, 512))
	if err != nil {
		return err
	}
	if err := p.remember(conn); err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		handshakeAnswer(request.Header.Get("Sec-WebSocket-Key")))
	return errors.Join(err, conn.SetDeadline(time.Time{}))
}

func (p *limitProgram) remember(conn net.Conn) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, conn)
		p.fds = append(p.fds, int(fd))
	})
}

// ignore reads until the client goes.
func (p *limitProgram) ignore(conn net.Conn) {
	heard := make([]byte, 64)
	for {
		if _, err := conn.Read(heard); err != nil {
			p.forget(conn)
			return
		}
	}
}

func (p *limitProgram) forget(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.conns, conn); i >= 0 {
		p.conns = slices.Delete(p.conns, i, i+1)
		p.fds = slices.Delete(p.fds, i, i+1)
	}
	conn.Close()
}

func (p *limitProgram) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
}

// order is a line of standard input.
type order struct {
	kind     string
	clients  int
	accessID string
	first    uint64
	count    int
	bytes    int // of one write, at most
}

func (p *limitProgram) obey(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var o order
		_, err := fmt.Sscan(lines.Text(), &o.kind, &o.clients, &o.accessID, &o.first, &o.count, &o.bytes)
		if err == nil {
			err = p.execute(o)
		}
		if err != nil {
			return fmt.Errorf("obey %q: %w", lines.Text(), err)
		}
		fmt.Fprintln(out, "done")
	}
	return lines.Err()
}

func (p *limitProgram) execute(o order) error {
	fds := p.sockets()
	if len(fds) != o.clients {
		return fmt.Errorf("%d clients are here", len(fds))
	}
	switch o.kind {
	case "single":
		return writeSingle(fds, o)
	case "flat":
		return writeFlat(fds, o)
	}
	return errors.New("unknown order")
}

func (p *limitProgram) sockets() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.fds)
}

// writeSingle writes each frame to every socket by a write of its own.
func writeSingle(fds []int, o order) error {
	for i := range o.count {
		frame := o.frames(i, 1)
		for _, fd := range fds {
			if n, err := unix.Write(fd, frame); n != len(frame) {
				return fmt.Errorf("write: %w", cmp.Or(err, io.ErrShortWrite))
			}
		}
	}
	return nil
}

// frames makes the frames of events, one each, in one piece of memory.
func (o order) frames(from, count int) []byte {
	var all, event []byte
	now := time.Now().Unix()
	for i := range count {
		event = appendEvent(event[:0], o.accessID, now, o.first+uint64(from+i))
		all = appendServerText(all, event)
	}
	return all
}
