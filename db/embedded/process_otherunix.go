//go:build !windows && !linux

package embedded

import (
	"bytes"
	"os/exec"
	"strconv"
)

// worksIn says whether a process is the postmaster of a data folder, by its command line.
func worksIn(_ string, pid int, dataDir string) bool {
	line := commandLine(pid)
	return bytes.Contains(line, []byte("postgres")) && bytes.Contains(line, []byte(dataDir))
}

// startedByUs says whether this package started a process, a postmaster by worksIn.
func startedByUs(pid int, _ string) bool { return marked(commandLine(pid)) }

func commandLine(pid int) []byte {
	line, _ := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // fails if there is none
	return line
}
