//go:build !linux

package httpapi

import "syscall"

// unacknowledged is not known here: what the kernel took counts.
func unacknowledged(syscall.RawConn) int { return 0 }

// answers is not known here, either.
func answers(syscall.RawConn) bool { return false }
