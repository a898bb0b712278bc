package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/notifier/db"
	"example.com/notifier/db/dbtest"
	"example.com/notifier/httpapi"
	"example.com/notifier/httpapi/client"
	"example.com/notifier/notifier"
	"github.com/google/go-cmp/cmp"
)

// serve runs a whole server on a database of its own and returns a client of it.
func serve(t *testing.T) *client.Client {
	t.Helper()
	database, err := db.Open(t.Context(), db.Config{URL: dbtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	hub := notifier.NewHub(notifier.HubConfig{})
	server, err := httpapi.New(httpapi.Config{Hub: hub, Store: database, Ready: database.Ready, Anonymous: true, Drain: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = database.Feed(ctx, hub) })   // ends with ctx
	running.Go(func() { _ = server.Run(ctx, listener) }) // ends with ctx
	t.Cleanup(func() {
		stop()
		running.Wait()
		database.Close()
	})
	dbtest.Eventually(t, "the server is ready", func() bool { return database.Ready() == nil })
	c, err := client.New("ws://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func rawEvent(at int64, payload string) json.RawMessage {
	return fmt.Appendf(nil, `{"accessid":"ann","created_at":%d,"payload":%s}`, at, payload)
}

func TestClient_PushesOnceAndReceives(t *testing.T) {
	t.Parallel()
	c := serve(t)
	list := []json.RawMessage{rawEvent(7, `{"a": 1}`), rawEvent(1, `"too old"`), rawEvent(5, `null`)}
	for range 2 {
		if err := c.Push(t.Context(), list, "key"); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Subscribe(t.Context(), "ann", 5)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for len(got) < 3 {
		events, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, fmt.Sprint(e.AccessID, e.CreatedAt, string(e.Payload)))
		}
		if len(got) == 2 { // replayed or, if the server had not read them yet, live; what follows is live
			if err := c.Push(t.Context(), []json.RawMessage{rawEvent(6, `"live"`)}, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(got[:2])
	if diff := cmp.Diff([]string{"ann5null", `ann7{"a": 1}`, `ann6"live"`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClient_DropEndsASubscriptionForGood(t *testing.T) {
	t.Parallel()
	c := serve(t)
	dropped := make(chan error, 1)
	connected := make(chan struct{})
	go func() { // ends with the drop
		dropped <- c.Watch(t.Context(), client.WatchConfig{User: "ann", Connected: func() { close(connected) }})
	}()
	<-connected
	for { // the announcement may arrive after the drop
		if err := c.Drop(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-dropped:
			if !errors.Is(err, client.ErrDropped) {
				t.Errorf("ended by %v", err)
			}
			return
		default:
		}
	}
}

func TestClient_ServersReasonsAreTold(t *testing.T) {
	t.Parallel()
	c := serve(t)
	err := c.Push(t.Context(), []json.RawMessage{[]byte(`{"accessid":1}`)}, "")
	if status, ok := errors.AsType[*client.StatusError](err); !ok || status.Status != 400 || status.Text == "" || status.Temporary() {
		t.Errorf("error %v", err)
	}
	s, err := c.Subscribe(t.Context(), strings.Repeat("x", 5000), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("error %v", err)
	}
}
