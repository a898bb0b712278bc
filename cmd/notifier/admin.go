package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

const (
	// adminHeaderTimeout is how long the header of a request may take.
	adminHeaderTimeout = 10 * time.Second
	// adminLastRequests is how long requests may take that are under way at the
	// end. A profile may be one, and is not waited for.
	adminLastRequests = time.Second
)

// admin is the address for operators. It is apart from the public ones, so that
// who reaches those sees nothing of it: it asks nobody who they are.
type admin struct {
	listener net.Listener
	handler  http.Handler
}

func openAdmin(ctx context.Context, address string) (*admin, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q for operators: %w", address, err)
	}
	return &admin{listener: l}, nil
}

// measurements has all that net/http/pprof has but the command line, which may
// hold a password.
func measurements(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}

// run serves until the context ends or the listener fails.
func (a *admin) run(ctx context.Context) error {
	web := &http.Server{Handler: a.handler, ReadHeaderTimeout: adminHeaderTimeout}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // waited for below
		defer close(ended)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminLastRequests)
		defer cancel()
		if web.Shutdown(last) != nil {
			_ = web.Close()
		}
	})
	err := web.Serve(a.listener)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve operators: %w", err)
}
