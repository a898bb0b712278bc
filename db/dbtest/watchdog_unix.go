//go:build !windows

package dbtest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// watchdogScript waits for its input to end, which happens when this process does, even by
// SIGKILL or a panic; then it stops the server of folder $1 and removes the folder.
const watchdogScript = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
fi
rm -rf "$1"
`

// watchdog is a shell that cleans up after this process.
type watchdog struct {
	leash *os.File // our end of its input
	cmd   *exec.Cmd
}

func newWatchdog(dir string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make watchdog's pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "sh", dir)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not to be ended by the Ctrl-C that ends us
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	return &watchdog{leash: w, cmd: cmd}, nil
}

// release lets it go; the cluster is gone by now, so it finds nothing to do.
func (w *watchdog) release() {
	w.leash.Close()
	_ = w.cmd.Wait()
}
