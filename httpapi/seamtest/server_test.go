package seamtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/notifier"
)

const (
	serverURL     = "SEAMTEST_DATABASE"
	serverAddress = "SEAMTEST_ADDRESS"
)

// serve is a whole server in a process of its own, until SIGTERM.
func serve(url, address string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveUntil(ctx, url, address); err != nil {
		fmt.Fprintln(os.Stderr, "seamtest server:", err)
		return 1
	}
	return 0
}

func serveUntil(ctx context.Context, url, address string) error {
	d, err := db.Open(ctx, db.Config{URL: url, PollInterval: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	defer d.Close()
	key, err := d.SigningKey(ctx)
	if err != nil {
		return err
	}
	hub := notifier.NewHub(notifier.HubConfig{Log: d, RecentBytes: 256 << 10})
	server, err := httpapi.New(httpapi.Config{
		Hub: hub, Store: d, Ready: d.Ready, SessionKey: key, Anonymous: true, SysadmTypes: []string{"*"},
		PingInterval: 300 * time.Millisecond, Drain: 200 * time.Millisecond, CloseTimeout: 500 * time.Millisecond,
		Outbox: notifier.OutboxLimits{Events: 50}, SendBuffer: 4 << 10,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	feeding, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Feed(feeding, hub) }) // ends with feeding
	err = server.Run(ctx, l)
	stop()
	wg.Wait()
	return err
}

// process is a server that is killed and started again at one address.
type process struct {
	t       *testing.T
	url     string
	address string
	command *exec.Cmd
}

func newProcess(t *testing.T, url string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, url: url, address: l.Addr().String()}
	l.Close()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	p.start()
	return p
}

func (p *process) start() {
	p.command = exec.Command(os.Args[0])
	p.command.Env = append(os.Environ(), serverURL+"="+p.url, serverAddress+"="+p.address)
	p.command.Stderr = os.Stderr
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) end(how syscall.Signal) {
	_ = p.command.Process.Signal(how)
	_ = p.command.Wait()
}
