package dbtest

import (
	"testing"

	"example.com/notifier/testcontainers/network"
)

// Proxy stands between a client and a server and fails on command. A new one passes
// everything through.
type Proxy struct{ *network.Proxy }

// NewProxy listens on a port of its own and forwards to the host of targetURL. It ends with the test.
func NewProxy(t testing.TB, targetURL string) *Proxy {
	t.Helper()
	p, err := network.NewProxy(targetURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &Proxy{p}
}

// Target has new connections go to the host of another URL, as after a failover; open ones stay.
func (p *Proxy) Target(t testing.TB, targetURL string) {
	t.Helper()
	if err := p.Proxy.Target(targetURL); err != nil {
		t.Fatal(err)
	}
}
