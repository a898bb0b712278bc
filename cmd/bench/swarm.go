//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// recorder learns of every event that arrives. It is called by one goroutine.
type recorder interface {
	// record takes an event's number, which is above 0, and when its client got
	// it. An error ends the run.
	record(client int, number uint64, at time.Duration) error
}

// swarm is many subscribers in one goroutine. They cost little, so that what is
// measured is the server: one read for whatever a socket has, and no look at
// what does not matter.
type swarm struct {
	epoll, wake int
	clients     []client

	// nap is how long it sleeps before it looks for what has come, while that is
	// not 0. A thread that waits for a socket is woken by each write, at the
	// writer's cost, and that is no cost of a server whose clients are elsewhere.
	nap atomic.Int64

	dialect dialect

	mu       sync.Mutex // taken once for each read
	recorder recorder

	wg     sync.WaitGroup
	ended  atomic.Bool
	err    error // once ended
	buffer []byte
	spare  [][]byte

	events atomic.Int64 // without probes
	bytes  atomic.Int64
	probes atomic.Int64
	losses atomic.Int64 // clients that were told that their access is gone
	last   atomic.Int64 // when anything came last, as a clock reading
}

// client is one subscriber.
type client struct {
	fd     int
	rest   []byte // the beginning of a frame
	probed bool
}

// probe is the number of the event by which a swarm knows that a subscription
// stands: stored or live, it comes exactly once.
const probe = 0

var epoch = time.Now()

// clock tells the time since the program began; it never jumps.
func clock() time.Duration { return time.Since(epoch) }

const (
	receiveBuffer = 256 << 10
	connectAtOnce = 32
	wakeMark      = -1
)

// newSwarm connects as many clients, each with what its dialect has it say. The
// caller closes the swarm.
func newSwarm(ctx context.Context, address string, n int, d dialect, r recorder) (*swarm, error) {
	s := &swarm{epoll: -1, wake: -1, dialect: d, recorder: r, clients: make([]client, n), buffer: make([]byte, receiveBuffer)}
	for i := range s.clients {
		s.clients[i].fd = -1
	}
	err := s.open()
	if err == nil {
		err = s.connect(ctx, address)
	}
	if err != nil {
		s.closeSockets()
		return nil, err
	}
	s.wg.Go(func() { // ends when close wakes it, or with the first error
		s.err = s.receiveAll()
		s.ended.Store(true)
	})
	return s, nil
}

func (s *swarm) open() (err error) {
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("make epoll: %w", err)
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("make eventfd: %w", err)
	}
	return s.watch(s.wake, wakeMark)
}

func (s *swarm) watch(fd, mark int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(mark)} //nolint:gosec // an index
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

func (s *swarm) connect(ctx context.Context, address string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(connectAtOnce)
	for i := range s.clients {
		group.Go(func() error { // ends with the handshake
			fd, err := subscribe(ctx, address, s.dialect.path, s.dialect.hello(i), 0)
			if err != nil {
				return fmt.Errorf("subscribe client %d: %w", i, err)
			}
			s.clients[i].fd = fd
			return s.watch(fd, i)
		})
	}
	return group.Wait()
}

// receiveAll reads whatever comes until it is woken.
func (s *swarm) receiveAll() error {
	ready := make([]unix.EpollEvent, 512)
	for {
		time.Sleep(time.Duration(s.nap.Load()))
		n, err := unix.EpollWait(s.epoll, ready, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for sockets: %w", err)
		}
		for _, event := range ready[:max(n, 0)] {
			if event.Fd == wakeMark {
				return nil
			}
			if err := s.receive(int(event.Fd)); err != nil {
				return fmt.Errorf("client %d: %w", event.Fd, err)
			}
		}
	}
}

func (s *swarm) receive(i int) error {
	n, err := unix.Read(s.clients[i].fd, s.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case n == 0:
		return errors.New("the server ended the connection")
	}
	at := clock()
	s.mu.Lock()
	err = s.takeLocked(i, s.buffer[:n], at)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.bytes.Add(int64(n))
	s.last.Store(int64(at))
	return nil
}

// takeLocked goes through the frames that are complete and keeps the rest.
func (s *swarm) takeLocked(i int, data []byte, at time.Duration) error {
	c := &s.clients[i]
	if len(c.rest) > 0 {
		c.rest = append(c.rest, data...)
		data = c.rest
	}
	events := 0
	for {
		f, rest, ok, err := nextFrame(data)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		data = rest
		n, err := s.handle(i, f, at)
		if err != nil {
			return err
		}
		events += n
	}
	s.keep(c, data)
	s.events.Add(int64(events)) // last: who reads it sees all that was recorded
	return nil
}

// keep stores the beginning of a frame in a buffer that is lent to the client
// for as long as it needs one.
func (s *swarm) keep(c *client, rest []byte) {
	switch {
	case len(rest) > 0 && c.rest == nil && len(s.spare) > 0:
		c.rest = s.spare[len(s.spare)-1]
		s.spare = s.spare[:len(s.spare)-1]
	case len(rest) == 0 && c.rest != nil:
		s.spare = append(s.spare, c.rest[:0])
		c.rest = nil
		return
	}
	c.rest = append(c.rest[:0], rest...)
}

func (s *swarm) handle(i int, f frame, at time.Duration) (events int, err error) {
	switch f.opcode {
	case opText:
		return s.handleText(i, f.payload, at)
	case opPing:
		pong := appendClient(nil, opPong, f.payload)
		if _, err := unix.Write(s.clients[i].fd, pong); err != nil {
			return 0, fmt.Errorf("answer ping: %w", err)
		}
		return 0, nil
	case opClose:
		return 0, fmt.Errorf("the server closed: %q", f.payload)
	default:
		return 0, fmt.Errorf("unexpected frame, opcode %d", f.opcode)
	}
}

func (s *swarm) handleText(i int, text []byte, at time.Duration) (events int, err error) {
	if s.dialect.isReply(text) {
		return 0, s.handleReply(i, text)
	}
	list := text
	for {
		number, rest, ok, err := nextNumber(list, s.dialect.mark)
		switch {
		case err != nil:
			return events, fmt.Errorf("%w: %.200q", err, text)
		case !ok && events == 0 && len(list) == len(text):
			return 0, fmt.Errorf("no event in %.200q", text)
		case !ok:
			return events, nil
		case number == probe:
			err = s.handleProbe(i)
		default:
			err = s.recorder.record(i, number, at)
			events++
		}
		if err != nil {
			return events, err
		}
		list = rest
	}
}

// handleReply counts a client as subscribed, or as one that is no longer.
func (s *swarm) handleReply(i int, text []byte) error {
	switch {
	case s.dialect.agrees(text):
		return s.handleProbe(i)
	case s.clients[i].probed:
		s.losses.Add(1)
		return nil
	}
	return fmt.Errorf("the server answered %.200q", text)
}

func (s *swarm) handleProbe(i int) error {
	if s.clients[i].probed {
		return errors.New("the probe came twice")
	}
	s.clients[i].probed = true
	s.probes.Add(1)
	return nil
}

// awaitProbes waits until every client has got its probe.
func (s *swarm) awaitProbes(ctx context.Context) error {
	return s.await(ctx, "probes", func() bool { return s.probes.Load() == int64(len(s.clients)) })
}

// awaitLosses waits until every client has been told that it is subscribed no
// longer.
func (s *swarm) awaitLosses(ctx context.Context) error {
	return s.await(ctx, "revocations", func() bool { return s.losses.Load() == int64(len(s.clients)) })
}

// awaitEvents waits until that many events have come in all, to whichever
// clients.
func (s *swarm) awaitEvents(ctx context.Context, n int64) error {
	err := s.await(ctx, "events", func() bool { return s.events.Load() >= n })
	if got := s.events.Load(); got != n {
		return errors.Join(err, fmt.Errorf("%d events arrived instead of %d", got, n))
	}
	return err
}

// await waits until something is so, or the swarm has failed. Time that brings
// anything is not counted against patience.
func (s *swarm) await(ctx context.Context, what string, so func() bool) error {
	for {
		before := s.last.Load()
		err := await(ctx, what, func() bool { return s.ended.Load() || so() })
		switch {
		case s.ended.Load():
			return s.err
		case err == nil, ctx.Err() != nil, s.last.Load() == before:
			return err
		}
	}
}

// inspect lets somebody look at what was recorded while nothing is.
func (s *swarm) inspect(look func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look()
}

// close ends all connections and returns what had gone wrong with them.
func (s *swarm) close() error {
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // a counter can't be full with one
	s.wg.Wait()
	s.closeSockets()
	return s.err
}

func (s *swarm) closeSockets() {
	for _, c := range s.clients {
		closeSocket(c.fd)
	}
	closeSocket(s.wake)
	closeSocket(s.epoll)
}

func closeSocket(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // nothing is lost that counts
	}
}
