package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	api "github.com/moby/moby/api/types/container"
	library "github.com/testcontainers/testcontainers-go"
)

// image is a notifier in a container, which uses the host's network: so it reaches
// what listens on loopback here, and its clients reach it there.
type image struct{ *guarded }

// startImage starts one and returns where it listens.
func startImage(ctx context.Context, s settings) (runner, string, error) {
	if err := engine(ctx); err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	environment := s.environment()
	environment["NOTIFIER_DATABASE_URL"] = s.database
	environment["NOTIFIER_JWT_SECRET"] = string(s.secret)
	environment["NOTIFIER_ADDR"] = address
	g, err := guard(ctx, func(options ...library.ContainerCustomizer) (library.Container, error) {
		c, err := library.Run(ctx, s.image, append(options,
			library.WithHostConfigModifier(func(h *api.HostConfig) { h.NetworkMode = "host" }),
			library.WithEnv(environment))...)
		if c == nil {
			return nil, err
		}
		return c, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("start a container of %s: %w", s.image, err)
	}
	for !answers(ctx, address) {
		state, err := g.State(ctx)
		if err == nil && state.Running && ctx.Err() == nil {
			pause(ctx)
			continue
		}
		late := context.WithoutCancel(ctx)
		err = errors.Join(fmt.Errorf("notifier in a container of %s does not become ready; its log: %s", s.image, output(late, g)), err, context.Cause(ctx))
		return nil, "", errors.Join(err, g.Close(late))
	}
	return image{g}, address, nil
}

// answers says whether a notifier takes clients.
func answers(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// output is the beginning of what a container has said.
func output(ctx context.Context, c library.Container) []byte {
	const most = 4096
	logs, err := c.Logs(ctx)
	if err != nil {
		return nil
	}
	defer logs.Close()
	text, _ := io.ReadAll(io.LimitReader(logs, most))
	return text
}

// stop ends it and removes its container.
func (i image) stop(ctx context.Context, inOrder bool) error {
	end := kill
	if inOrder {
		end = func(ctx context.Context, g *guarded) error { return g.Stop(ctx, nil) }
	}
	return errors.Join(end(ctx, i.guarded), i.Close(ctx))
}
