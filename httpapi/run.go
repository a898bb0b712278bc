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
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// answerTimeout is how long an answer may take beyond the request.
	answerTimeout = time.Minute
)

// Run serves the listeners until the context ends or one of them fails. Then it
// says that it is not ready, lets no connection in, closes those there are
// spread over Config.Drain, lets requests under way finish, and returns when
// all its goroutines have ended. It closes the listeners.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	web := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: min(s.config.HandshakeTimeout, s.config.RequestTimeout), // also TLS has as long
		ReadTimeout:       s.config.RequestTimeout,
		WriteTimeout:      s.config.RequestTimeout + answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       keepSocket,
		ConnState:         s.socketState,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelWarn),
	}
	serve, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var serving, beating sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { // ends when the listener is closed, by Shutdown at the latest
			if err := web.Serve(sparing{l, s}); !errors.Is(err, http.ErrServerClosed) {
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

// stop ends connections and requests, and returns when there are none: within
// Config.Drain and Config.CloseTimeout, whatever clients or the store do. Until
// shortly before its end, requests are answered, so that who comes is told to come
// again.
func (s *Server) stop(web *http.Server) {
	s.connections.drain(s.config.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), s.config.CloseTimeout)
	defer cancel()
	context.AfterFunc(ctx, s.giveUp)
	ended := make(chan struct{})
	go func() { // ends when every connection has; it is waited for below
		s.connections.open.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(s.config.CloseTimeout / 2): // some clients do not answer; the rest of the time is for requests
	}
	if err := web.Shutdown(ctx); err != nil {
		s.config.Logger.Warn("requests cut off", "error", err)
		_ = web.Close() // nothing can be said to them any more
	}
	<-ended // each has had its own CloseTimeout
}
