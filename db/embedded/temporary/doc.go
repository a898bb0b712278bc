// Package temporary runs clusters for tests: each in a temporary folder, and none
// outlives the process that started it.
//
// However the process ends, its clusters end with it: a small watchdog process holds
// the other end of a pipe and cleans up when that closes. What even the watchdog left
// behind, the next process that starts a cluster removes.
package temporary
