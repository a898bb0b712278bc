package embedded

import (
	"os"
	"strconv"
)

// worksIn says whether a process works in a data folder, as every postmaster does in its own.
// Process ids are handed out again (after a reboot, in a container always the same ones), so
// the id in postmaster.pid alone proves nothing. A zombie has no folder: it counts as gone.
func worksIn(_ string, pid int, dataDir string) bool {
	cwd, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return false
	}
	data, err := os.Stat(dataDir)
	return err == nil && os.SameFile(cwd, data)
}

// startedByUs says whether this package started a process, a postmaster by worksIn.
func startedByUs(pid int, _ string) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && marked(line)
}
