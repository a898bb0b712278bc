//go:build unix

package main

import "syscall"

// openFiles returns how many files the process may have open. Go has raised that as
// far as the process may.
func openFiles() (limit uint64, known bool) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	return uint64(l.Cur), true //nolint:unconvert // it is signed on some systems
}
