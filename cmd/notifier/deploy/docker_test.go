package deploy_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// docker runs a docker command, and returns what it prints.
func docker(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", arguments...).Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(arguments, " "), err, problem(err))
	}
	return strings.TrimSpace(string(out))
}

// problem is what a command has said of its failure.
func problem(err error) []byte {
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Output returns it
		return exit.Stderr
	}
	return nil
}

// needImage ends a test that can't have an image: it was asked for, so it must not pass
// as skipped. None is fetched: what a test brings onto a machine, its owner should have
// asked for.
func needImage(t *testing.T, image string) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "image", "inspect", image).CombinedOutput(); err != nil {
		t.Fatalf("no Docker engine, or no image %s: %v, %s", image, err, out)
	}
	return image
}

// notifierImage is the image to be tried. Without one, the tests are skipped.
func notifierImage(t *testing.T) string {
	t.Helper()
	image := os.Getenv("NOTIFIER_TEST_IMAGE")
	if image == "" {
		t.Skip("NOTIFIER_TEST_IMAGE names no image of notifier (make image, make test-image)")
	}
	return needImage(t, image)
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	const patience = 90 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("still not after %v: %s", patience, what)
		}
	}
}

// freeAddress is one of this machine that nobody listens at now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// project is compose.yaml, brought up under a name of its own.
type project struct {
	t       *testing.T
	command []string
	name    string
	env     []string
	ids     map[string]string // the containers, by the service
}

// newProject removes all that it has made when the test ends, and looks whether
// anything is left.
func newProject(t *testing.T, env ...string) *project {
	t.Helper()
	command := []string{"docker-compose"}
	if _, err := exec.LookPath("docker-compose"); err != nil {
		command = []string{"docker", "compose"}
		if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
			t.Fatal("neither docker-compose nor docker compose is there")
		}
	}
	p := &project{t: t, command: command, name: fmt.Sprintf("notifier-test-%d", os.Getpid()), ids: map[string]string{}}
	p.env = append(append(os.Environ(), "COMPOSE_PROJECT_NAME="+p.name), env...)
	t.Cleanup(p.remove)
	return p
}

// run runs a command of compose, and returns what it prints.
func (p *project) run(arguments ...string) string {
	p.t.Helper()
	return p.runWith(p.t.Context(), arguments...)
}

func (p *project) runWith(ctx context.Context, arguments ...string) string {
	p.t.Helper()
	all := append(append(p.command[1:len(p.command):len(p.command)], "-f", "../../../compose.yaml"), arguments...)
	command := exec.CommandContext(ctx, p.command[0], all...)
	command.Env = p.env
	out, err := command.Output()
	if err != nil {
		p.t.Errorf("%s: %v\n%s%s", command, err, out, problem(err))
		if ctx.Err() == nil && arguments[0] == "up" {
			p.t.Log(p.runWith(ctx, "logs", "--no-color"))
		}
		p.t.FailNow()
	}
	return strings.TrimSpace(string(out))
}

// inspect asks for something of a service's container.
func (p *project) inspect(service, format string) string {
	p.t.Helper()
	if p.ids[service] == "" {
		p.ids[service] = p.run("ps", "-q", service)
	}
	return docker(p.t, "inspect", "-f", format, p.ids[service])
}

func (p *project) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if p.t.Failed() {
		p.t.Log(p.runWith(ctx, "logs", "--no-color", "--tail", "40"))
	}
	p.runWith(ctx, "--profile", "dashboards", "down", "-v")
	for _, kind := range []string{"container", "network", "volume"} {
		list := []string{kind, "ls", "-q", "--filter", "label=com.docker.compose.project=" + p.name}
		if kind == "container" {
			list = append(list, "-a")
		}
		if left, err := exec.CommandContext(ctx, "docker", list...).Output(); err != nil || len(left) > 0 {
			p.t.Errorf("left of %ss: %s, %v", kind, left, err)
		}
	}
}
