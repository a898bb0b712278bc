package proxies

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Trusted are the addresses of the proxies that are believed. The zero value
// trusts nobody.
type Trusted []netip.Prefix

// Parse reads addresses and networks, such as 10.0.0.7 and 10.0.0.0/8, and
// reports all that are neither.
func Parse(list []string) (Trusted, error) {
	var t Trusted
	var problems []error
	for _, text := range list {
		network, err := netip.ParsePrefix(text)
		if address, notOne := netip.ParseAddr(text); notOne == nil {
			address = address.Unmap().WithZone("")
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text))
			continue
		}
		t = append(t, network.Masked())
	}
	return t, errors.Join(problems...)
}

// Has reports whether there is a trusted proxy at an address.
func (t Trusted) Has(address netip.Addr) bool {
	for _, network := range t {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// addressOf returns the address of "host:port", or of a host alone; the zero
// address if it is none.
func addressOf(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, _ := netip.ParseAddr(strings.Trim(text, "[]"))
	return address.Unmap().WithZone("")
}
