// Package leaktest has nothing but tests: that on a real Postgres nobody is
// shown what the policy forbids, whatever happens at the same time. They take a
// whole instance, from the log to the socket, and two of them where it matters,
// which no other package may import.
package leaktest
