package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxHeader bounds a request's header, in bytes.
	maxHeader = 32 << 10
	// headerTimeout is how long a request's header may take.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// answerTimeout is how long an answer may take beyond the request.
	answerTimeout = time.Minute
	// lastRequests is how long requests may take that are under way when the
	// server stops.
	lastRequests = 5 * time.Second
)

// Run serves the listeners until the context ends or one of them fails. Then it
// says that it is not ready, lets no connection in, closes those there are
// spread over Config.Drain, lets requests under way finish, and returns when
// all its goroutines have ended. It closes the listeners.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	web := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: min(headerTimeout, s.config.RequestTimeout),
		ReadTimeout:       s.config.RequestTimeout,
		WriteTimeout:      s.config.RequestTimeout + answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       keepSocket,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelWarn),
	}
	serve, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var serving, beating sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { // ends when the listener is closed, by Shutdown at the latest
			if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(fmt.Errorf("serve %v: %w", l.Addr(), err))
			}
		})
	}
	beat, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	beating.Go(func() { s.connections.beat(beat) }) // ends when every connection has

	<-serve.Done()
	s.stop(web)
	stopBeating()
	serving.Wait()
	beating.Wait()
	if ctx.Err() != nil {
		return nil // as it was asked to
	}
	return context.Cause(serve)
}

// stop ends connections, then requests, and returns when there are none.
func (s *Server) stop(web *http.Server) {
	s.connections.drain(s.config.Drain)
	s.connections.open.Wait() // each ends within its own time limits
	ctx, cancel := context.WithTimeout(context.Background(), lastRequests)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		s.config.Logger.Warn("requests cut off", "error", err)
		_ = web.Close() // nothing can be said to them any more
	}
}
