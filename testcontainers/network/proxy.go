package network

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
)

// Proxy stands between a client and a server and fails on command. A new one passes
// everything through.
type Proxy struct {
	address  *url.URL
	listener net.Listener
	running  sync.WaitGroup // the acceptor and two copiers per connection

	mu      sync.Mutex
	target  string
	conns   map[net.Conn]bool // both sides of every open connection
	open    chan struct{}     // closed while bytes may pass
	held    int               // bytes read and not passed on, because of a Stall
	refuse  bool
	stopped bool
}

// NewProxy listens on a port of its own on loopback and forwards to the host of
// targetURL, until it is closed.
func NewProxy(targetURL string) (*Proxy, error) {
	target, err := parse(targetURL)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen as proxy: %w", err)
	}
	address := *target
	address.Host = l.Addr().String()
	p := &Proxy{target: target.Host, address: &address, listener: l, conns: map[net.Conn]bool{}, open: make(chan struct{})}
	close(p.open)
	p.running.Go(p.accept) // ends when the listener is closed
	return p, nil
}

// parse says nothing of the text, in which there may be a password.
func parse(targetURL string) (*url.URL, error) {
	target, err := url.Parse(targetURL)
	if err != nil || target.Port() == "" {
		return nil, errors.New("the proxy's target is no URL with a host and a port")
	}
	return target, nil
}

// URL is the target's URL with the proxy's address in it.
func (p *Proxy) URL() string { return p.address.String() }

// Cut closes every connection now. New ones are served as before.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

// cutLocked resets, so that neither side can take it for an orderly end.
func (p *Proxy) cutLocked() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
}

// Stall lets no byte pass, in either direction, while connections stay open: as when a
// network swallows packets.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isClosed(p.open) && !p.stopped {
		p.open = make(chan struct{})
	}
}

// Resume ends a Stall; what was held back passes now.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumeLocked()
}

func (p *Proxy) resumeLocked() {
	if !isClosed(p.open) {
		close(p.open)
	}
}

// Target has new connections go to the host of another URL, as after a failover; open ones stay.
func (p *Proxy) Target(targetURL string) error {
	target, err := parse(targetURL)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target.Host
	return nil
}

func (p *Proxy) host() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// Refuse ends each new connection at once; open ones go on.
func (p *Proxy) Refuse() { p.setRefuse(true) }

// Accept ends a Refuse.
func (p *Proxy) Accept() { p.setRefuse(false) }

func (p *Proxy) setRefuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Connections is how many connections are open through the proxy.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close ends the proxy and all its connections, and waits for them.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.stopped = true
	p.listener.Close()
	p.cutLocked()
	p.resumeLocked()
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) }) // ends when either side of the connection does
	}
}

// serve forwards one connection until a side ends.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if p.refuses() {
		return
	}
	server, err := net.Dial("tcp", p.host())
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) }) // each ends when its source or its destination does,
	both.Go(func() { p.copy(client, server) }) // and then closes both, so the other ends too
	both.Wait()
}

func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.awaitOpen(n)
		if _, writeErr := to.Write(buffer[:n]); writeErr != nil || err != nil {
			return
		}
	}
}

// awaitOpen waits until no Stall is on.
func (p *Proxy) awaitOpen(bytes int) {
	p.mu.Lock()
	open := p.open
	p.held += bytes
	p.mu.Unlock()
	<-open
	p.mu.Lock()
	p.held -= bytes
	p.mu.Unlock()
}

// Held is how many bytes a Stall keeps back at this moment: once it is positive, a client has
// sent something that the other side does not have.
func (p *Proxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isClosed(p.open) {
		return 0
	}
	return p.held
}

func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse || p.stopped
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.stopped
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
