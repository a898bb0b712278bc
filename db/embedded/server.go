package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is a running cluster. Its methods may be called from any goroutine.
type Server struct {
	config  Config
	bin     Binaries
	account account
	lock    *dirLock
	port    int

	turn sync.Mutex // held by whoever starts or stops the server; taken before mu

	mu   sync.Mutex
	proc *process // the latest run
	over bool     // Stop was called: the folder is given back
}

// Start starts the cluster of c.Dir, making it first if there is none, and returns once it
// accepts connections. It never touches data of another major version, nor a folder that
// another process uses (ErrInUse).
func Start(ctx context.Context, c Config) (*Server, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, port: c.Port}
	if s.account, err = accountFor(c.dataDir()); err != nil {
		return nil, err
	}
	if err := s.account.prepareDir(c.Dir); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(c.Dir); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.lock.release()
		return nil, err
	}
	return s, nil
}

// open does what needs the folder's lock.
func (s *Server) open(ctx context.Context) error {
	data := s.config.dataDir()
	made, err := dataVersion(data)
	if err != nil {
		return err
	}
	if s.bin, err = chooseBinaries(ctx, s.config, newFinder(s.account), made); err != nil {
		return err
	}
	if made == 0 {
		if err := s.initialize(ctx); err != nil {
			return err
		}
	}
	return s.launch(ctx)
}

// launch starts the server in its initialized folder. A free port can be lost to another
// program before the server binds it, and the folder to a server whose owner was killed
// while that server was just starting; then it is tried again. So it is while sessions of a
// server that was killed have not noticed yet: they end by themselves.
func (s *Server) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.StartTimeout, fmt.Errorf("not ready after %v", s.config.StartTimeout))
	defer cancel()
	const attempts = 5
	begun := time.Now()
	for attempt := 1; ; {
		if err := s.reclaim(ctx); err != nil {
			return err
		}
		port := s.port
		if port == 0 {
			var err error
			if port, err = freePort(); err != nil {
				return err
			}
		}
		err := s.launchOn(ctx, port)
		if err == nil {
			return nil
		}
		switch {
		case ctx.Err() != nil:
			return err
		case s.outlived(err) && time.Since(begun) < lingering:
			pause(ctx)
		case attempt < attempts && s.mayRetry(err, port):
			attempt++
		default:
			return err
		}
	}
}

// pause lets what must end by itself go on with it.
func pause(ctx context.Context) {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lingering is how long the sessions of a killed server may take to end.
const lingering = 15 * time.Second

// outlived says whether a start failed because sessions of an earlier server, which was
// killed, still hold its shared memory. Only the log tells; its language is set by us.
func (s *Server) outlived(err error) bool {
	return errors.Is(err, errEarlyEnd) && strings.Contains(err.Error(), "pre-existing shared memory block")
}

// mayRetry says whether a start failed only because something of ours was snatched away.
func (s *Server) mayRetry(err error, port int) bool {
	if !errors.Is(err, errEarlyEnd) {
		return false
	}
	return s.port == 0 && !isFree(port) || s.occupied()
}

// launchOn makes one attempt.
func (s *Server) launchOn(ctx context.Context, port int) error {
	p, err := s.spawn(port)
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, p, port); err != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitGrace)
		defer cancel()
		return errors.Join(err, s.end(bounded, p, immediateShutdown))
	}
	s.mu.Lock()
	s.proc, s.port = p, port
	s.mu.Unlock()
	s.config.Logger.Info("database server started", "dir", s.config.Dir, "port", port, "version", s.bin.Version, "pid", p.cmd.Process.Pid)
	return nil
}

// Stop shuts the server down in order (sessions are ended, a checkpoint is written), waits for
// it and gives the folder back. When ctx ends first the server is stopped at once, which loses
// nothing either. Stopping again does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.finished() {
		return nil
	}
	err := s.end(ctx, s.current(), fastShutdown)
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.lock.release()
	s.config.Logger.Info("database server stopped", "dir", s.config.Dir)
	return err
}

// Crash stops the server as a crash would: no checkpoint, nothing in order. Restart brings
// it back. The folder stays ours.
func (s *Server) Crash() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), quitGrace)
	defer cancel()
	return s.end(ctx, s.current(), immediateShutdown)
}

// Restart starts the server again on the same port and data; if it runs it is stopped in order first.
func (s *Server) Restart(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.finished() {
		return errors.New("restart postgres: it was stopped for good")
	}
	if err := s.end(ctx, s.current(), fastShutdown); err != nil {
		return err
	}
	return s.launch(ctx)
}

// Done is closed when the server ended, by whatever cause. After a Restart it is a new channel.
func (s *Server) Done() <-chan struct{} { return s.current().done }

// URL is the connection URL of a database; "" means Config.Database.
func (s *Server) URL(database string) string {
	if database == "" {
		database = s.config.Database
	}
	return s.config.url(s.Port(), database)
}

// Port is the server's TCP port on 127.0.0.1.
func (s *Server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

// Dir is the cluster's home folder.
func (s *Server) Dir() string { return s.config.Dir }

// LogFile is where the server writes its log.
func (s *Server) LogFile() string { return s.config.logFile() }

// Binaries are the programs the cluster runs on.
func (s *Server) Binaries() Binaries { return s.bin }

// Bin is the path of a program beside postgres (psql, pgbench). It need not exist:
// downloaded binaries are the server's only.
func (s *Server) Bin(name string) string { return executable(s.bin.Dir, name) }

// PID is the process id of the latest run.
func (s *Server) PID() int { return s.current().cmd.Process.Pid }

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
