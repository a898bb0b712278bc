//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// pump writes the same bytes to many sockets as fast as they take them.
type pump struct {
	epoll   int
	all     []byte
	frame   int // length of one frame
	write   int // bytes of one write, whole frames
	sockets []pumped
	left    int // sockets that have not got everything
}

type pumped struct{ fd, done int }

// visit bounds what one socket gets before the others' turn, in bytes.
const visit = 64 << 10

// writeFlat shares the sockets among the processors.
func writeFlat(fds []int, o order) error {
	all := o.frames(0, o.count)
	frame := len(all) / o.count
	workers := min(runtime.GOMAXPROCS(0), len(fds))
	var group errgroup.Group
	for i := range workers {
		share := fds[i*len(fds)/workers : (i+1)*len(fds)/workers]
		group.Go(func() error { // ends when its sockets have got everything
			p := &pump{all: all, frame: frame, write: max(o.bytes/frame, 1) * frame}
			return p.run(share)
		})
	}
	return group.Wait()
}

func (p *pump) run(fds []int) (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make epoll: %w", err)
	}
	defer unix.Close(p.epoll)
	for i, fd := range fds {
		p.sockets = append(p.sockets, pumped{fd: fd})
		event := unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(i)} //nolint:gosec // an index
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return fmt.Errorf("watch socket: %w", err)
		}
	}
	p.left = len(fds)
	ready := make([]unix.EpollEvent, 512)
	for p.left > 0 {
		n, err := unix.EpollWait(p.epoll, ready, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for sockets: %w", err)
		}
		for _, event := range ready[:max(n, 0)] {
			if err := p.visit(&p.sockets[event.Fd]); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit writes until the socket is full, or has got its share.
func (p *pump) visit(s *pumped) error {
	for end := s.done + visit; s.done < end; {
		// A write ends where it would have without partial writes before it.
		until := min((s.done/p.write+1)*p.write, len(p.all))
		n, err := unix.Write(s.fd, p.all[s.done:until])
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		s.done += n
		if s.done == len(p.all) {
			p.left--
			return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, s.fd, nil)
		}
	}
	return nil
}
