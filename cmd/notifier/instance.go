package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"example.com/notifier/httpapi/instances"
	"example.com/notifier/notifier"
)

// newInstance describes this process to the others. The operators' address is
// nil, if there is none; called is what they are to call it by, "" being what can
// be made of the address.
func newInstance(operators net.Addr, called string) notifier.Instance {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	i := notifier.Instance{
		ID:        newUUID(),
		Name:      fmt.Sprintf("%s:%d", host, os.Getpid()),
		Version:   currentVersion(),
		StartedAt: time.Now(),
		AdminURL:  called,
	}
	if tcp, ok := operators.(*net.TCPAddr); ok && called == "" {
		i.AdminURL = "http://" + reachable(tcp.AddrPort(), interfaces()).String()
	}
	return i
}

// newUUID returns a random one (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// reachable returns by what others reach an address that is listened on: if that is
// every address of this machine, the first that is not its own only, rather of
// IPv4, as whoever has both reaches that too.
func reachable(at netip.AddrPort, own []netip.Addr) netip.AddrPort {
	address := at.Addr().Unmap()
	if !address.IsUnspecified() {
		return netip.AddrPortFrom(address, at.Port())
	}
	var four, six netip.Addr
	for _, a := range own {
		switch a = a.Unmap(); {
		case !a.IsGlobalUnicast():
		case a.Is4() && !four.IsValid():
			four = a
		case a.Is6() && !six.IsValid():
			six = a
		}
	}
	switch {
	case four.IsValid():
		address = four
	case six.IsValid() && address.Is6():
		address = six
	default:
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(address, at.Port())
}

func interfaces() []netip.Addr {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr())
		}
	}
	return all
}

// parseAdminURL reads what others call an instance by.
func parseAdminURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	at, err := instances.ParseURL(text)
	if err != nil {
		return "", errors.New("must be of the form http://host:port")
	}
	return at, nil
}
