package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard keeps foreign web pages out while clients need no token: then a page
// that a user of this machine happens to visit could otherwise use the server
// as if it were that user. It checks the Origin, which a browser sets and a page
// cannot, and the Host, because a page whose own name is made to resolve to this
// machine (DNS rebinding) has the right Origin, but not a right Host.
type guard struct {
	anyOrigin  bool
	nullOrigin bool
	origins    map[string]bool // normalized
	hosts      map[string]bool // lower case, with or without a port
	refusals   *refusals
}

func newGuard(c Config, refused *refusals) (*guard, error) {
	g := &guard{origins: make(map[string]bool), hosts: make(map[string]bool), refusals: refused}
	var problems []error
	for _, origin := range c.AllowedOrigins {
		problems = append(problems, g.allowOrigin(origin))
	}
	for _, host := range c.AllowedHosts {
		problems = append(problems, g.allowHost(host))
	}
	return g, errors.Join(problems...)
}

// newOperatorsGuard returns that of the operators' address, which may also be called
// as the other instances call it. No foreign page is allowed there.
func newOperatorsGuard(c Config, refused *refusals) (*guard, error) {
	own := Config{AllowedHosts: slices.Clone(c.AllowedHosts)}
	if at, err := url.Parse(c.Operation.Self.AdminURL); err == nil && at.Hostname() != "" {
		own.AllowedHosts = append(own.AllowedHosts, at.Hostname())
	}
	return newGuard(own, refused)
}

func (g *guard) allowOrigin(origin string) error {
	if err := CheckOrigin(origin); err != nil {
		return fmt.Errorf("allowed origin %w", err)
	}
	switch origin {
	case "*":
		g.anyOrigin = true
	case "null":
		g.nullOrigin = true
	default:
		normal, _, _ := parseOrigin(origin)
		g.origins[normal] = true
	}
	return nil
}

func (g *guard) allowHost(host string) error {
	if err := CheckHost(host); err != nil {
		return fmt.Errorf("allowed host %w", err)
	}
	g.hosts[strings.ToLower(host)] = true
	return nil
}

// CheckOrigin returns an error for what [Config.AllowedOrigins] can't list.
func CheckOrigin(origin string) error {
	if _, _, ok := parseOrigin(origin); ok || origin == "*" || origin == "null" {
		return nil
	}
	return fmt.Errorf("%q is neither scheme://host[:port], nor null, nor *", origin)
}

// CheckHost returns an error for what [Config.AllowedHosts] can't list.
func CheckHost(host string) error {
	if host == "" || strings.ContainsAny(host, "/*@ ") {
		return fmt.Errorf("%q is not a host name, with or without a port", host)
	}
	return nil
}

// protect is the middleware that stands before every route.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff") // our texts quote what clients send
		if reason, err := g.check(r); err != nil {
			g.refusals.note(reason, "told", err.Error(), "remote", r.RemoteAddr, "path", r.URL.Path)
			refuse(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) check(r *http.Request) (Refusal, error) {
	if !g.hostAllowed(r.Host) {
		return RefusedHost, fmt.Errorf("host %q is not allowed: without tokens, a name must be listed in the allowed hosts", r.Host)
	}
	for _, origin := range r.Header.Values("Origin") {
		if !g.originAllowed(origin, r.Host) {
			return RefusedOrigin, fmt.Errorf("origin %q is not allowed: without tokens, another host's pages must be listed in the allowed origins", origin)
		}
	}
	return "", nil
}

// hostAllowed reports whether a Host header is a name by which no foreign page
// can reach us: browsers resolve localhost by themselves, and an address can't
// be rebound. A request without a Host comes from no browser.
func (g *guard) hostAllowed(header string) bool {
	name := strings.ToLower(header)
	if name == "" || g.hosts[name] {
		return true
	}
	name = hostName(name)
	if g.hosts[name] || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// hostName takes the port, the brackets of an IPv6 address and the final dot
// off.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// originAllowed reports whether a page of that origin may call us by that host.
// An origin that is no URL, as the Qt client sends, comes from no browser.
func (g *guard) originAllowed(origin, host string) bool {
	switch {
	case g.anyOrigin:
		return true
	case origin == "null":
		return g.nullOrigin
	case !strings.Contains(origin, "://"):
		return true
	}
	normal, own, ok := parseOrigin(origin)
	return ok && (g.origins[normal] || own != "" && own == withPort(strings.ToLower(host), normal))
}

// parseOrigin returns an origin in lower case with its port, and its host and
// port alone.
func parseOrigin(origin string) (normal, host string, ok bool) {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || strings.Contains(origin, "%") || u.Scheme == "" || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || !isHostName(u.Hostname()) {
		return "", "", false
	}
	host = withPort(u.Host, u.Scheme+"://")
	return u.Scheme + "://" + host, host, true
}

// isHostName reports whether a host without port and brackets is one. The URL's parser
// lets brackets and colons through, and any byte that is written with a %, which no
// browser does.
func isHostName(name string) bool {
	if strings.Contains(name, ":") {
		_, err := netip.ParseAddr(name)
		return err == nil
	}
	return !strings.ContainsAny(name, "[]")
}

// withPort adds the standard port of an origin's scheme to a host without one.
func withPort(host, origin string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	switch {
	case strings.HasPrefix(origin, "http://"):
		return net.JoinHostPort(bare, "80")
	case strings.HasPrefix(origin, "https://"):
		return net.JoinHostPort(bare, "443")
	}
	return host
}
