// Package proxies finds out where a client is that comes through a proxy which
// the operator trusts: a balancer of connections says it by the PROXY protocol,
// one of requests by X-Forwarded-For and X-Forwarded-Proto. What anybody else
// says about that is not believed.
package proxies
