package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// orphanGrace is how long an orphaned server may take for an orderly shutdown.
const orphanGrace = 30 * time.Second

// reclaim sees to it that no server runs in the data folder. The caller holds the folder's
// lock, so a server of ours that still runs there has lost its owner: it is stopped in order,
// and has then kept every committed row. Any other server is left alone.
func (s *Server) reclaim(ctx context.Context) error {
	data := s.config.dataDir()
	f, ok := readPidFile(data)
	if !ok {
		return nil
	}
	if !worksIn(s.bin.Dir, f.pid, data) {
		return removeStale(data, f)
	}
	if f.standalone || !startedByUs(f.pid, data) {
		return fmt.Errorf("use data folder %q: a PostgreSQL server that notifier did not start (process %d) runs in it: stop that one first: %w",
			data, f.pid, ErrInUse)
	}
	s.config.Logger.Warn("stopping a database server that lost its owner", "pid", f.pid, "dir", s.config.Dir)
	return s.stopOrphan(ctx, f.pid)
}

// occupied says whether a server runs in the data folder now.
func (s *Server) occupied() bool {
	f, ok := readPidFile(s.config.dataDir())
	return ok && worksIn(s.bin.Dir, f.pid, s.config.dataDir())
}

// removeStale removes the postmaster.pid of a server that is gone when its process id now
// belongs to some other program: PostgreSQL would take that one for the server and refuse.
// Every other stale file is PostgreSQL's own business.
func removeStale(dataDir string, f pidFile) error {
	if !sameUserProcess(f.pid) {
		return nil
	}
	err := os.Remove(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}

// stopOrphan stops a server that is not our child, first in order, then at once.
func (s *Server) stopOrphan(ctx context.Context, pid int) error {
	for _, how := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{fastShutdown, orphanGrace}, {immediateShutdown, quitGrace}} {
		if err := signalServer(s.bin.Dir, pid, how.signal); err != nil {
			return fmt.Errorf("stop orphaned server (process %d): %w", pid, err)
		}
		gone, err := s.awaitGone(ctx, pid, how.wait)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("stop orphaned server (process %d): it does not end: %w", pid, ErrInUse)
}

// awaitGone polls, since only a parent is told when a process ends.
func (s *Server) awaitGone(ctx context.Context, pid int, most time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errStillThere)
	defer cancel()
	err := poll(ctx, 10*time.Millisecond, func() (bool, error) {
		return !worksIn(s.bin.Dir, pid, s.config.dataDir()), nil
	})
	if errors.Is(err, errStillThere) {
		return false, nil
	}
	return err == nil, err
}

var errStillThere = errors.New("still there")

// poll asks until the answer is yes, an error, or the end of ctx.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
