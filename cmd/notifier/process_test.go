package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/notifier/db/dbtest"
)

// asCommand makes the test binary be notifier: so the commands run as real
// processes, and under the race detector.
const asCommand = "NOTIFIER_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "npx" {
		os.Exit(wscat(os.Args[1:]))
	}
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	dbtest.Main(m, chromium.stop)
}

// process is a running notifier.
type process struct {
	t        testing.TB
	command  *exec.Cmd
	in       io.WriteCloser
	out, err *transcript
	ended    chan struct{}
}

// transcript is what a process has written so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// cleanEnvironment is that of the tests without what configures notifier, but
// for the Postgres that the tests shall use.
func cleanEnvironment(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, envPrefix) || strings.HasPrefix(entry, "NOTIFIER_POSTGRES_BIN=") {
			env = append(env, entry)
		}
	}
	return append(append(env, asCommand+"=1"), extra...)
}

// start runs a command line; the process is killed if it outlives the test.
func start(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	command := exec.Command(os.Args[0], args...)
	command.Env = cleanEnvironment(env...)
	return follow(t, command)
}

// follow is start for a command that is ready to be run.
func follow(t testing.TB, command *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, command: command, out: &transcript{}, err: &transcript{}, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.out, p.err
	p.command.WaitDelay = 10 * time.Second
	if command.Stdin == nil {
		var err error
		if p.in, err = p.command.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process; the cleanup waits for it
		_ = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", command, p.out, p.err)
		}
		if strings.Contains(p.err.String(), "DATA RACE") {
			t.Errorf("%s: %s", command, p.err)
		}
	})
	return p
}

// run runs a command line to its end.
func run(t testing.TB, env []string, args ...string) (code int, out, err string) {
	t.Helper()
	p := start(t, env, args...)
	p.in.Close()
	code = p.wait()
	return code, p.out.String(), p.err.String()
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Minute):
		p.t.Fatal("the process does not end")
	}
	return p.command.ProcessState.ExitCode()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// halt stops the process as it stands, and returns once all of it stands: the signal
// by itself leaves threads that run a moment longer, on a busy machine a long one.
func (p *process) halt() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.command.Process.Pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() {
			p.t.Fatalf("the process does not stop: %v, status %#x", err, status)
		}
		return
	}
}

// says waits until the process has written a text.
func (p *process) says(t *transcript, text string) {
	p.t.Helper()
	dbtest.Eventually(p.t, "it says "+text, func() bool {
		select {
		case <-p.ended:
			if !strings.Contains(t.String(), text) {
				p.t.Fatalf("it ended without saying %q", text)
			}
		default:
		}
		return strings.Contains(t.String(), text)
	})
}

// serving starts a server on a free port, or the address given last, waits
// until it is ready and returns its URL too.
func serving(t testing.TB, database string, args ...string) (*process, string) {
	t.Helper()
	p := start(t, []string{"NOTIFIER_DATABASE_URL=" + database, "NOTIFIER_ADDR=127.0.0.1:0", "NOTIFIER_ANONYMOUS=true"},
		append([]string{"serve"}, args...)...)
	p.says(p.err, "msg=ready")
	return p, "http://" + p.address()
}

// address finds in the log where the process listens first.
func (p *process) address() string {
	p.t.Helper()
	return p.addresses()[0]
}

// addresses finds all, in the order of the setting.
func (p *process) addresses() (all []string) {
	p.t.Helper()
	lines := bufio.NewScanner(strings.NewReader(p.err.String()))
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "msg=listening address="); found {
			all = append(all, address)
		}
	}
	if len(all) == 0 {
		p.t.Fatal("it does not say where it listens")
	}
	return all
}

// status asks for a page and returns the status, 0 if nobody answers.
func status(t testing.TB, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// TestBinary_BuildsStatic builds what the Makefile builds, which the other
// tests do not run: they are notifier themselves.
func TestBinary_BuildsStatic(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "notifier")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version=v1.2.3", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil || string(out) != "v1.2.3\n" {
		t.Errorf("version says %q, %v", out, err)
	}
	if exit, ok := errors.AsType[*exec.ExitError](exec.CommandContext(t.Context(), binary, "serve").Run()); !ok || exit.ExitCode() != exitFailed {
		t.Errorf("serve without anything: %v, want exit code %d", exit, exitFailed)
	}
}
