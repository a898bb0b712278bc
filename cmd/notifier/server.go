package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"example.com/notifier/cmd/notifier/metrics"
	"example.com/notifier/db"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/auth"
	"example.com/notifier/httpapi/certificate"
	"example.com/notifier/notifier"
	"golang.org/x/sync/errgroup"
)

// server is one instance: a database, the hub that is fed from it, and the HTTP
// side with its listeners.
type server struct {
	logger    *slog.Logger
	database  *db.DB
	hub       *notifier.Hub
	http      *httpapi.Server
	tokens    *auth.Verifier // nil: none are taken
	listeners []listener
	feeds     *metrics.TimedHub // what the feed is given: the hub with a clock beside it
	self      notifier.Instance
	admin     *admin // nil: there is none
	// certificate is that of the listeners with TLS; nil: there are none.
	certificate *certificate.Source
	// ownCertificate is the file of one that is signed by itself; "": none is.
	ownCertificate string
	// reloads has SIGHUP look at the certificate's files; else it ends the
	// process, as it does by itself.
	reloads bool
}

// openServer connects to the database and takes the addresses, so that whatever
// is wrong shows before anything runs.
func openServer(ctx context.Context, c serverConfig, logger *slog.Logger) (_ *server, err error) {
	s := &server{logger: logger}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	c.DB.Logger = logger
	if s.database, err = db.Open(ctx, c.DB); err != nil {
		return nil, err
	}
	if err = checkSchema(ctx, s.database); err != nil {
		return nil, err
	}
	if err = c.checkWayIn(ctx, s.database); err != nil {
		return nil, err
	}
	if s.hub, err = c.Wire(ctx, s.database, logger); err != nil {
		return nil, err
	}
	s.feeds = metrics.Time(s.hub)
	if c.admin != "" {
		if s.admin, err = openAdmin(ctx, c.admin); err != nil {
			return nil, err
		}
	}
	c.HTTP.Operation = s.operation(c)
	if c.tokens.given() {
		config := c.tokens.config()
		config.Logger = logger
		if s.tokens, err = auth.New(ctx, config); err != nil {
			return nil, err
		}
		c.HTTP.Tokens = s.tokens
	}
	if s.http, err = httpapi.New(c.HTTP); err != nil {
		return nil, err
	}
	s.serveAdmin()
	if s.certificate, s.ownCertificate, err = c.tls.open(c.folder, logger); err != nil {
		return nil, err
	}
	for _, address := range c.addresses {
		var l listener
		if l, err = listen(ctx, address, s.certificate, c.HTTP.Proxies); err != nil {
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// operation is what operators are told that the HTTP side does not know.
func (s *server) operation(c serverConfig) httpapi.Operation {
	var operators net.Addr
	if s.admin != nil {
		operators = s.admin.listener.Addr()
	}
	s.self = newInstance(operators, c.adminURL)
	return httpapi.Operation{
		Self:       s.self,
		Instances:  s.database.Instances,
		EventsRead: func() int64 { return s.database.Stats().EventsRead },
		Latencies:  s.feeds.Latencies,
		Trace:      s.database.Trace,
		Doctor:     c.examine,
	}
}

// serveAdmin has the address for operators, if there is one, answer.
func (s *server) serveAdmin() {
	if s.admin == nil {
		return
	}
	m := metrics.New(metrics.Config{
		Version: currentVersion(), Hub: s.feeds, Database: s.database, Server: s.http, Logger: s.logger,
	})
	s.admin.handler = s.http.OperatorHandler(measurements(m.Handler()))
}

// close gives back what open took; run has closed the listeners by then.
func (s *server) close() {
	for _, l := range s.listeners {
		l.Close()
	}
	if s.admin != nil {
		s.admin.listener.Close()
	}
	if s.database != nil {
		s.database.Close()
	}
}

// run serves until ctx ends, then shuts down in order: the HTTP side drains its
// connections while the feed still runs, so that nobody misses what was
// committed before; then the feed and retention stop. A feed that fails stops
// everything too, and so does a schema that leaves this binary behind. ready is called once clients can be served.
func (s *server) run(ctx context.Context, ready func()) error {
	behind, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(errStopped)
	group, failed := errgroup.WithContext(behind)
	group.Go(func() error { return s.background("feed", s.database.Feed(failed, s.feeds), failed) }) // ends with failed
	group.Go(func() error {
		return s.background("announcement", s.database.Announce(failed, s.self, s.hub.Point), failed)
	}) // ends with failed
	group.Go(func() error { return s.background("retention", s.database.Retain(failed), failed) }) // ends with failed

	if s.tokens != nil {
		group.Go(func() error { return s.background("keys", s.tokens.Run(failed), failed) }) // ends with failed
	}
	if s.certificate != nil {
		group.Go(func() error { return s.background("certificate", s.certificate.Run(failed), failed) }) // ends with failed
	}
	if s.certificate != nil && s.reloads {
		group.Go(func() error { onHangup(failed, s.certificate.Reload); return nil }) // ends with failed
	}
	if s.admin != nil {
		s.logger.Info("operators are served", "address", s.admin.listener.Addr().String())
		group.Go(func() error { return s.background("admin", s.admin.run(failed), failed) }) // ends with failed
	}
	group.Go(func() error { s.whenReady(failed, ready); return nil }) // ends with failed

	front, stopFront := context.WithCancelCause(ctx)
	defer stopFront(errStopped)
	release := context.AfterFunc(failed, func() { stopFront(errStopped) })
	defer release()
	group.Go(func() error { s.watchSchema(failed, stopFront); return nil }) // ends with failed

	sockets := make([]net.Listener, len(s.listeners))
	for i, l := range s.listeners {
		s.logger.Info("listening", "address", l.address())
		sockets[i] = l.Listener
	}
	err := s.http.Run(front, sockets...)
	cause := context.Cause(front)
	s.logger.Info("stopping", "cause", cause)
	stop(errStopped)
	if behind, ok := errors.AsType[*leftBehindError](cause); ok {
		err = errors.Join(behind, err)
	}
	return errors.Join(err, group.Wait())
}

// background words the end of what runs behind the HTTP side: one that was
// asked for is no error.
func (s *server) background(what string, err error, asked context.Context) error {
	if asked.Err() != nil {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s ended by itself", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// whenReady asks until the feed follows the log: that takes milliseconds.
func (s *server) whenReady(ctx context.Context, ready func()) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.database.Ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	s.logger.Info("ready")
	ready()
}
