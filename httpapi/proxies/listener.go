package proxies

import (
	"net"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerTimeout is how long a trusted proxy may take to say who its client is.
const headerTimeout = 10 * time.Second

// Listener returns a listener whose connections from trusted proxies may begin
// with a header of the PROXY protocol, and then come from where it says. All
// other connections are what they were.
func (t Trusted) Listener(l net.Listener) net.Listener {
	if len(t) == 0 {
		return l
	}
	return &proxyproto.Listener{Listener: l, ReadHeaderTimeout: headerTimeout, ConnPolicy: t.policy}
}

func (t Trusted) policy(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	if t.Has(addressOf(o.Upstream.String())) {
		return proxyproto.USE, nil
	}
	return proxyproto.SKIP, nil
}
