//go:build !windows

package embedded

import (
	"errors"
	"os"
	"syscall"
)

// signalServer stops a postmaster; one that has just ended is no error.
func signalServer(_ string, pid int, how syscall.Signal) error {
	err := syscall.Kill(pid, how)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// sameUserProcess says whether a process of this id exists that PostgreSQL would take for
// the holder of a stale postmaster.pid (it ignores those it may not signal).
func sameUserProcess(pid int) bool { return syscall.Kill(pid, 0) == nil }
