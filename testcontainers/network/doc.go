// Package network puts a network that fails on command between a client and a server
// of a test.
package network
