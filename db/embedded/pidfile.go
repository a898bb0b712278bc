package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pidFile is what a postmaster tells about itself in its data folder.
type pidFile struct {
	pid        int
	standalone bool // a single-user backend, which nobody but its operator may stop
	ready      bool // it accepts connections
}

// readPidFile reads postmaster.pid; ok is false if there is none (or not yet a whole one).
func readPidFile(dataDir string) (f pidFile, ok bool) {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return f, false
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid == 0 {
		return f, false
	}
	f.pid, f.standalone = max(pid, -pid), pid < 0
	const statusLine = 7
	if len(lines) > statusLine {
		status := strings.TrimSpace(lines[statusLine])
		f.ready = status == "ready" || status == "standby"
	}
	return f, true
}

// ownerSetting is a setting of our own on every command line. There it marks a server as ours
// from its first moment; postmaster.opts, the server's copy, is written a little later than
// postmaster.pid, and an owner can be killed in between (seen).
const ownerSetting = "notifier.started_by"

// marked says whether a command line carries our mark.
func marked(commandLine []byte) bool {
	return bytes.Contains(commandLine, []byte(ownerSetting+"="+defaultName))
}
