package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Windows has these two by name only; there they go through pg_ctl.
const (
	fastShutdown      = syscall.SIGINT  // ends sessions, writes a checkpoint
	immediateShutdown = syscall.SIGQUIT // ends at once; the next start recovers from the log
)

// quitGrace is how long a server may take to end after an immediate shutdown: it gives its
// own children five seconds before it kills them.
const quitGrace = 15 * time.Second

// process is one run of the server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
}

// spawn starts postgres. Its log is a file it writes by itself, so it never depends on our reading.
func (s *Server) spawn(port int) (*process, error) {
	path := s.config.logFile()
	_ = os.Rename(path, path+".old") // not there the first time
	log, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(executable(s.bin.Dir, "postgres"), s.config.serverArgs(port)...)
	cmd.Dir, cmd.Env = s.config.Dir, serverEnv()
	cmd.Stdout, cmd.Stderr = log, log
	s.account.apply(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go p.wait() // ends when the server does; end waits for it
	return p, nil
}

func (p *process) wait() {
	defer close(p.done)
	_ = p.cmd.Wait() // how it ended is in its log
}

// ended says whether the server is no longer there.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end stops the server with a signal and waits. When ctx ends first the server is stopped at
// once: a committed row is safe either way, only the next start takes longer.
func (s *Server) end(ctx context.Context, p *process, how syscall.Signal) error {
	if p.ended() {
		return nil
	}
	err := signalServer(s.bin.Dir, p.cmd.Process.Pid, how)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		err = errors.Join(err, context.Cause(ctx))
	}
	_ = signalServer(s.bin.Dir, p.cmd.Process.Pid, immediateShutdown)
	select {
	case <-p.done:
		return fmt.Errorf("stop postgres in order: %w (it was stopped at once instead)", err)
	case <-time.After(quitGrace):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("stop postgres: %w (it had to be killed)", err)
}

// logTail is the end of the server's log, for messages.
func (s *Server) logTail() string {
	f, err := os.Open(s.config.logFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 4096
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, most))
	return lastLines(string(text))
}

// lastLines keeps what fits in a message.
func lastLines(text string) string {
	const most = 12
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
