package testcontainers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/notifier"
)

// here is a notifier in this process: what `notifier serve` puts together, less its
// address for operators.
type here struct {
	database *db.DB
	http     *httpapi.Server
	listener net.Listener
	logger   *slog.Logger

	working  sync.WaitGroup
	front    context.CancelFunc // ends the HTTP side, in order
	behind   context.CancelFunc // ends what feeds it
	mu       sync.Mutex
	problems error // why something ended by itself
}

// startHere starts one and returns where it listens.
func startHere(ctx context.Context, s settings) (runner, string, error) {
	h := &here{logger: slog.New(slog.NewTextHandler(s.log.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	hub, err := h.open(ctx, s)
	if err != nil {
		if h.database != nil {
			h.database.Close()
		}
		return nil, "", err
	}
	h.run(hub)
	for h.database.Ready() != nil {
		if err := h.problem(); err != nil || ctx.Err() != nil {
			return nil, "", errors.Join(err, context.Cause(ctx), h.database.Ready(), h.stop(context.WithoutCancel(ctx), false))
		}
		pause(ctx)
	}
	return h, h.listener.Addr().String(), nil
}

// open makes all parts.
func (h *here) open(ctx context.Context, s settings) (hub *notifier.Hub, err error) {
	config, err := s.tuning()
	if err != nil {
		return nil, err
	}
	config.DB.URL, config.DB.Logger = s.database, h.logger
	if h.database, err = db.Open(ctx, config.DB); err != nil {
		return nil, err
	}
	if hub, err = config.Wire(ctx, h.database, h.logger); err != nil {
		return nil, err
	}
	if config.HTTP.Tokens, err = auth.New(ctx, auth.Config{Secret: s.secret, Logger: h.logger}); err != nil {
		return nil, err
	}
	if h.http, err = httpapi.New(config.HTTP); err != nil {
		return nil, err
	}
	if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return hub, nil
}

// run starts all that works until stop.
func (h *here) run(hub *notifier.Hub) {
	// Not the test's context, which ends before its cleanups: an instance ends in order.
	behind, stopBehind := context.WithCancel(context.Background())
	front, stopFront := context.WithCancel(behind)
	h.front, h.behind = stopFront, stopBehind
	work := func(what string, until context.Context, do func() error) {
		h.working.Go(func() { // ends with its context, and ends the others
			defer stopBehind()
			if err := do(); until.Err() == nil {
				h.note(fmt.Errorf("%s ended by itself: %w", what, err))
			}
		})
	}
	work("feed", behind, func() error { return h.database.Feed(behind, hub) })
	work("retention", behind, func() error { return h.database.Retain(behind) })
	work("HTTP", front, func() error { return h.http.Run(front, h.listener) })
}

func (h *here) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = errors.Join(h.problems, err)
}

func (h *here) problem() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.problems
}

// stop ends the HTTP side while the rest still works, or all at once.
func (h *here) stop(_ context.Context, inOrder bool) error {
	if !inOrder {
		h.behind()
	}
	h.front()
	h.working.Wait()
	h.database.Close()
	return h.problem()
}

// pause is between two looks at something that is about to happen.
func pause(ctx context.Context) {
	timer := time.NewTimer(2 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
