//go:build !windows && !linux

package embedded

import (
	"os/exec"
	"strconv"
	"strings"
)

// worksIn says whether a process is the postmaster of a data folder, by its command line.
func worksIn(_ string, pid int, dataDir string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), dataDir)
}
