//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// program is the import path of what is measured.
const program = "example.com/notifier/cmd/notifier"

// server is "notifier serve" in a process of its own.
type server struct {
	*subprocess
	address string
}

// openToAll lets clients in without a token.
const openToAll = "NOTIFIER_ANONYMOUS=true"

// startServer starts a server on a database, and returns when it takes clients.
func (b *bench) startServer(ctx context.Context, url string, settings ...string) (*server, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.binary, "serve")
	cmd.Env = append(os.Environ(), "NOTIFIER_DATABASE_URL="+url, "NOTIFIER_ADDR="+address, "NOTIFIER_DRAIN=1s", "NOTIFIER_MAX_CONNECTS=none")
	cmd.Env = append(cmd.Env, settings...)
	p, err := startProcess(ctx, cmd, filepath.Join(b.dir, "server.log"))
	if err != nil {
		return nil, err
	}
	s := &server{p, address}
	err = await(ctx, "the server", func() bool { return s.ended() || s.ready() })
	if err != nil || s.ended() {
		return nil, errors.Join(err, s.close(), fmt.Errorf("the server did not start: %s", s.said()))
	}
	return s, nil
}

// build makes the program unless it was named or is made already.
func (b *bench) build(ctx context.Context) error {
	if b.binary == "" {
		b.binary = b.notifier
	}
	if b.binary != "" {
		return nil
	}
	b.say("building %s", program)
	binary := filepath.Join(b.dir, "notifier")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", program, err, out)
	}
	b.binary = binary
	return nil
}

// freeAddress finds an address that nobody listens on just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *server) ready() bool {
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + s.address + "/readyz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// limit is the limit program in a process of its own.
type limit struct {
	*subprocess
	address string
	orders  io.WriteCloser
	answers io.Reader
}

func (b *bench) startLimit(ctx context.Context) (*limit, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.Command(self, limitCommand)
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	// Not StdoutPipe: Wait would close it before its last line is read.
	answers, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer theirs.Close()
	cmd.Stdout = theirs
	l := &limit{orders: orders, answers: answers}
	if l.subprocess, err = startProcess(ctx, cmd, filepath.Join(b.dir, "limit.log")); err != nil {
		return nil, errors.Join(err, answers.Close())
	}
	if l.address, err = readLine(answers); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// order has the program do something and waits until it is done.
func (l *limit) order(o order) error {
	_, err := fmt.Fprintln(l.orders, o.kind, o.clients, o.accessID, o.first, o.count, o.bytes)
	if err != nil {
		return fmt.Errorf("order: %w", err)
	}
	answer, err := readLine(l.answers)
	if err != nil || answer != "done" {
		return errors.Join(err, fmt.Errorf("order %s: %q: %s", o.kind, answer, l.said()))
	}
	return nil
}

// close ends the program by its standard input; the signal that follows finds
// it ended, or else ends it.
func (l *limit) close() error {
	l.orders.Close()
	select {
	case <-l.done:
	case <-time.After(stopTimeout):
	}
	return l.subprocess.close()
}
