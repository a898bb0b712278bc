// Package auth says who a client is: it verifies and issues JSON Web Tokens,
// checks passwords, and finds both in requests. It knows no database and no
// protocol; what a user may do with an event is decided elsewhere.
//
// # Tokens of others
//
// A [Verifier] takes a token and returns an [Identity]. Its keys come from a
// shared secret, a PEM file, or a JSON Web Key Set in a file or at a URL. Every
// key is bound to the algorithms it may be used with when it is loaded, by the
// kind of key, by the configuration, and by the key set itself; the token's own
// header only chooses among these. So a public key can't become a secret, and
// "none" is not an algorithm. What a header says beyond alg and kid (jku, jwk,
// x5u) is never looked at, except crit, which makes a token invalid.
//
// [Verifier.Run] keeps the keys fresh. A token with an unknown key id makes it
// look again at once, but however many such tokens there are, only once in
// [Config.UnknownKeyInterval]. What can't be loaded leaves the last good keys
// in force; a key that its source no longer lists is gone.
//
// # Tokens of our own
//
// An [Issuer] makes tokens that a Verifier takes. A [Signer] makes the sessions
// which sysadm's and DRP's clients get for a password; they are bound to a
// generation, so that a new password ends them. sysadm's own tokens of exactly
// 20 characters can't carry anything themselves and are not made here.
//
// # Passwords
//
// [Logins] compares a password with its argon2id hash. It slows guessing down
// per user and network, never by the user's name alone, and lets no attack on
// one user keep others waiting: see throttle.go and gate.go.
//
// # What is never shown
//
// No error and no log line of this package contains a token, a password, a
// secret, or anything else a client sent. [RedactURL] is for those who log
// requests.
package auth
