//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// subprocess is a program that is measured. What it says on its standard error
// is kept, and told if it fails.
type subprocess struct {
	cmd  *exec.Cmd
	log  string
	stop sync.Once     // a second signal would mean impatience
	done chan struct{} // closed when it has ended, after err was set
	err  error
}

// startProcess starts a program that ends with close, or with ctx.
func startProcess(ctx context.Context, cmd *exec.Cmd, log string) (*subprocess, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer file.Close() // the process has its own
	cmd.Stderr = file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // should we be killed
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &subprocess{cmd: cmd, log: log, done: make(chan struct{})}
	forget := context.AfterFunc(ctx, p.terminate)
	go func() { // ends with the process, which close waits for
		defer close(p.done)
		defer forget()
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *subprocess) pid() int { return p.cmd.Process.Pid }

func (p *subprocess) terminate() {
	p.stop.Do(func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }) // it fails only if the process has ended
}

func (p *subprocess) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// close ends the process and returns how it went, if not well.
func (p *subprocess) close() error {
	p.terminate()
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.New("end process: it did not in time")
	}
	if p.err != nil {
		return fmt.Errorf("%w; it said: %s", p.err, p.said())
	}
	return nil
}

// said returns the end of what the process said.
func (p *subprocess) said() string {
	text, _ := os.ReadFile(p.log) // only to explain
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// readLine reads one line and nothing of the next. It does not wait in vain: a
// process that has ended has closed its pipe.
func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", fmt.Errorf("read answer: %w", err)
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}
