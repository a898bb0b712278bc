package embedded

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// signalServer goes through pg_ctl, which knows how to reach a server on Windows.
func signalServer(binDir string, pid int, how syscall.Signal) error {
	name := "INT"
	if how == immediateShutdown {
		name = "QUIT"
	}
	return exec.Command(executable(binDir, "pg_ctl"), "kill", name, strconv.Itoa(pid)).Run()
}

// sameUserProcess is not asked here: PostgreSQL sorts out a stale postmaster.pid by itself.
func sameUserProcess(int) bool { return false }

// worksIn asks pg_ctl whether a server runs in a data folder.
func worksIn(binDir string, _ int, dataDir string) bool {
	return exec.Command(executable(binDir, "pg_ctl"), "status", "-D", dataDir).Run() == nil
}

// startedByUs reads the server's copy of its command line.
func startedByUs(_ int, dataDir string) bool {
	line, err := os.ReadFile(filepath.Join(dataDir, "postmaster.opts"))
	return err == nil && marked(line)
}
