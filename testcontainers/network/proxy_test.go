package network_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.com/notifier/db/dbtest"
	"example.com/notifier/testcontainers/network"
)

func TestProxy_FailsOnCommand(t *testing.T) {
	t.Parallel()
	p := dbtest.NewProxy(t, dbtest.Empty(t))
	first := dbtest.Connect(t, p.URL())
	ping(t, first)

	p.Cut()
	if err := first.Ping(t.Context()); err == nil {
		t.Error("a cut connection still works")
	}
	second := dbtest.Connect(t, p.URL())

	p.Refuse()
	if conn, err := pgx.Connect(t.Context(), p.URL()); err == nil {
		_ = conn.Close(context.Background())
		t.Error("a connection was accepted while refusing")
	}
	ping(t, second) // open ones go on
	p.Accept()
	dbtest.Connect(t, p.URL())
}

func TestProxy_StallHoldsBytesBack(t *testing.T) {
	t.Parallel()
	p := dbtest.NewProxy(t, dbtest.Empty(t))
	conn := dbtest.Connect(t, p.URL())
	p.Stall()
	p.Stall() // as good as once
	answered := make(chan error, 1)
	go func() { answered <- conn.Ping(context.WithoutCancel(t.Context())) }() // ends with the answer, awaited below
	dbtest.Eventually(t, "the proxy holds the question back", func() bool { return p.Held() > 0 })
	select {
	case err := <-answered:
		t.Fatalf("an answer came through a stalled proxy: %v", err)
	default:
	}
	p.Resume()
	if err := <-answered; err != nil {
		t.Errorf("after the stall: %v", err)
	}
}

func ping(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatalf("ping: %v", err)
	}
}

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestNewProxy_QuotesNoPassword(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"postgres://u:hunter2@host", "postgres://u:hunter2@host:x/", "%"} {
		_, err := network.NewProxy(target)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", target, err)
		}
	}
}
