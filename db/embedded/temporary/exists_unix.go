//go:build !windows

package temporary

import (
	"errors"
	"syscall"
)

// ProcessExists says whether there is a process of an id now.
func ProcessExists(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
