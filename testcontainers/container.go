package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/notifier/db/embedded/temporary"
	"github.com/jackc/pgx/v5"
	api "github.com/moby/moby/api/types/container"
	docker "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	library "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	module "github.com/testcontainers/testcontainers-go/modules/postgres"
)

const (
	// ownerLabel marks containers of ours: the host's name and the id of the process
	// that started it.
	ownerLabel = "notifier.test.owner"
	// postgresPort is where Postgres listens inside.
	postgresPort = "5432/tcp"
	// containerPatience is how long Postgres may take to start in one.
	containerPatience = time.Minute
)

// errNoEngine says that no container can be had on this machine.
var errNoEngine = errors.New("no Docker engine answers")

// engine asks whether there is a Docker engine.
func engine(ctx context.Context) (problem error) {
	defer func() { // the library's way to say that it has found none
		if r := recover(); r != nil {
			problem = fmt.Errorf("%w: %v", errNoEngine, r)
		}
	}()
	provider, err := library.NewDockerProvider(library.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return fmt.Errorf("%w: %w", errNoEngine, err)
	}
	if err := provider.Health(ctx); err != nil { // which closes it
		return fmt.Errorf("%w: %w", errNoEngine, err)
	}
	return nil
}

// container is a Postgres in a container. Its port on the host stays the same when
// it is started again.
type container struct {
	*guarded
	url string
}

func startContainer(ctx context.Context, image string, settings map[string]string) (*container, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	arguments := []string{"postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arguments = append(arguments, "-c", name+"="+settings[name])
	}
	inside := docker.MustParsePort(postgresPort)
	g, err := guard(ctx, func(options ...library.ContainerCustomizer) (library.Container, error) {
		p, err := module.Run(ctx, image, append(options,
			library.WithCmd(arguments...),
			library.WithHostConfigModifier(func(h *api.HostConfig) {
				h.PortBindings = docker.PortMap{inside: {{HostIP: netip.IPv4Unspecified(), HostPort: strconv.Itoa(port)}}}
			}))...)
		if p == nil {
			return nil, err
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	host, err := g.Host(ctx)
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	c := &container{guarded: g}
	// The library's idea of the host is wrong where this process runs in a container, too,
	// and shares the engine's network.
	if c.url, err = await(ctx, containerURL(host, port), containerURL("127.0.0.1", port)); err != nil {
		return nil, errors.Join(err, g.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func containerURL(host string, port int) string {
	return fmt.Sprintf("postgres://postgres:postgres@%s/postgres?sslmode=disable", net.JoinHostPort(host, strconv.Itoa(port)))
}

// await returns the first URL at which Postgres takes connections. It does not while
// it initializes, which is by a server without the network, nor while it recovers.
func await(ctx context.Context, urls ...string) (url string, err error) {
	ctx, cancel := context.WithTimeout(ctx, containerPatience)
	defer cancel()
	for ctx.Err() == nil {
		for _, url := range urls {
			if err = try(ctx, url); err == nil {
				return url, nil
			}
		}
		pause(ctx)
	}
	return "", fmt.Errorf("wait for Postgres in its container: %w", err)
}

// try connects, for a moment: nobody may be there, not even to refuse.
func try(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (c *container) URL() string { return c.url }

// Private is true: the container goes with all that is in it.
func (*container) Private() bool { return true }

// Crash kills the server, and the container with it.
func (c *container) Crash(ctx context.Context) error { return kill(ctx, c.guarded) }

// Restart starts the container again.
func (c *container) Restart(ctx context.Context) error {
	if err := c.Start(ctx); err != nil {
		return err
	}
	_, err := await(ctx, c.url)
	return err
}

// guarded is a container that does not outlive this process for long.
type guarded struct {
	library.Container
	dog *temporary.Watchdog
}

// guard has a container started. That it goes with this process is first the
// business of the library's own reaper, Ryuk, where that is not switched off or out of
// reach; then of a watchdog, if there is a docker command; and at last of the next
// process that starts a container.
func guard(ctx context.Context, run func(...library.ContainerCustomizer) (library.Container, error)) (*guarded, error) {
	reap(ctx)
	c, err := run(library.WithLabels(map[string]string{ownerLabel: owner()}), library.WithLogger(log.NewNoopLogger()))
	if err != nil {
		if c != nil {
			err = errors.Join(err, c.Terminate(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	dog, err := temporary.Watch(`docker rm -f -v "$1" >/dev/null 2>&1`, c.GetContainerID())
	if err != nil {
		return nil, errors.Join(err, c.Terminate(ctx))
	}
	return &guarded{c, dog}, nil
}

// Close removes the container.
func (g *guarded) Close(ctx context.Context) error {
	err := g.Terminate(ctx, library.StopTimeout(0))
	g.dog.Release()
	return err
}

func owner() string {
	name, _ := os.Hostname()
	return name + " " + strconv.Itoa(os.Getpid())
}

// orphaned says of a label whether its process was of this host and is gone.
func orphaned(label string) bool {
	here, _ := os.Hostname()
	name, id, _ := strings.Cut(label, " ")
	pid, err := strconv.Atoi(id)
	return err == nil && name == here && !temporary.ProcessExists(pid)
}

// reap removes the containers of processes that are gone. Best effort: the leftovers
// are nobody's fault here.
func reap(ctx context.Context) {
	withEngine(func(engine client.APIClient) error {
		found, err := engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", ownerLabel)})
		for _, c := range found.Items {
			if orphaned(c.Labels[ownerLabel]) {
				_, _ = engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			}
		}
		return err
	})
}

// kill ends a container's process at once, and leaves the container.
func kill(ctx context.Context, g *guarded) error {
	return withEngine(func(engine client.APIClient) error {
		waiting := engine.ContainerWait(ctx, g.GetContainerID(), client.ContainerWaitOptions{Condition: api.WaitConditionNotRunning})
		if _, err := engine.ContainerKill(ctx, g.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"}); err != nil {
			return fmt.Errorf("kill container: %w", err)
		}
		select {
		case <-waiting.Result:
			return nil
		case err := <-waiting.Error:
			return err
		}
	})
}

func withEngine(do func(client.APIClient) error) error {
	provider, err := library.NewDockerProvider(library.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return err
	}
	defer provider.Close()
	return do(provider.Client())
}

// freePort is one that nobody listens on now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("look for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
