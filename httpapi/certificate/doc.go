// Package certificate keeps the TLS certificate of a server that is not
// restarted when its certificate is renewed, and makes one for development.
package certificate
