package proxies

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Handler has requests that come through trusted proxies come from where the
// last of these says: [http.Request.RemoteAddr] is the client's address then,
// with port 0, and [Encrypted] tells what the client speaks. The headers of
// others are not looked at.
func (t Trusted) Handler(next http.Handler) http.Handler {
	if len(t) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if address := addressOf(r.RemoteAddr); t.Has(address) {
			r = t.through(r, address)
		}
		next.ServeHTTP(w, r)
	})
}

// through returns the request as its client sent it to the first of the proxies
// that are trusted: each has added the address that it saw to the end of the
// list.
func (t Trusted) through(r *http.Request, address netip.Addr) *http.Request {
	proto, _ := lastOf(r.Header.Values("X-Forwarded-Proto"))
	encrypted := strings.EqualFold(proto, "https")
	r = r.WithContext(context.WithValue(r.Context(), encryptedKey{}, encrypted))
	client, hops := address, strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for hops != "" && t.Has(client) {
		var hop string
		hop, hops = cutLast(hops)
		before := addressOf(hop)
		if !before.IsValid() {
			break // "unknown", or made up: the proxy is all that is known
		}
		client = before
	}
	if client != address {
		r.RemoteAddr = net.JoinHostPort(client.String(), "0")
	}
	return r
}

func lastOf(values []string) (last, rest string) { return cutLast(strings.Join(values, ",")) }

// cutLast takes the last element off a list with commas.
func cutLast(list string) (last, rest string) {
	at := strings.LastIndexByte(list, ',')
	return strings.TrimSpace(list[at+1:]), list[:max(at, 0)]
}

// encryptedKey is where a request's context says what its client speaks.
type encryptedKey struct{}

// Encrypted reports whether nobody could read the request on its way: it came by
// TLS, or to a trusted proxy that says so. If it came through a trusted proxy
// that does not, told is true all the same: then it does not matter where the
// proxy is.
func Encrypted(r *http.Request) (encrypted, told bool) {
	encrypted, told = r.Context().Value(encryptedKey{}).(bool)
	return encrypted || r.TLS != nil, told
}
